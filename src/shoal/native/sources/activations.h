// Activations and their slopes, lane by lane, to the precision of `real`. NaN stays NaN.
template <class T> struct Exponent;
template <> struct Exponent<float> {
  typedef int32_t integer;
  static constexpr int terms = 8, bias = 127, bits = 23;
  static constexpr float bound = 87.0f, high = 0.693359375f, low = -2.12194440e-4f, magic = 12582912.0f;
};
template <> struct Exponent<double> {
  typedef int64_t integer;
  static constexpr int terms = 14, bias = 1023, bits = 52;
  static constexpr double bound = 708.0, high = 6.93145751953125e-1, low = 1.42860682030941723212e-6,
                          magic = 6755399441055744.0;
};
typedef Exponent<real> Ex;
typedef Ex::integer ivec __attribute__((vector_size(VECTOR_BYTES)));

static inline vec exponential(vec x) {
  x = x > splat(Ex::bound) ? splat(Ex::bound) : x;
  x = x < splat(-Ex::bound) ? splat(-Ex::bound) : x;
  const vec shifted = x * real(1.44269504088896340736) + Ex::magic;
  const vec n = shifted - Ex::magic;  // the nearest integer
  const vec t = (x - n * Ex::high) - n * Ex::low;
  vec p = splat(1);
  for (int k = Ex::terms; k > 0; --k) p = p * t * (real(1) / k) + real(1);
  const ivec power = (__builtin_convertvector(n, ivec) + Ex::bias) << Ex::bits;
  vec scale;
  std::memcpy(&scale, &power, sizeof scale);
  return p * scale;
}
static inline vec logistic(vec x) { return real(1) / (real(1) + exponential(-x)); }

struct Silu {
  static vec value(vec x) { return x * logistic(x); }
  static vec slope(vec x) {
    const vec s = logistic(x);
    return s * (real(1) + x * (real(1) - s));
  }
};
struct Tanh {
  static vec value(vec x) { return real(1) - real(2) / (exponential(x + x) + real(1)); }
  static vec slope(vec x) {
    const vec t = value(x);
    return real(1) - t * t;
  }
};
struct Mish {  // x tanh(softplus x); tanh(log(1 + e^x)) = ((1 + e^x)^2 - 1) / ((1 + e^x)^2 + 1)
  static vec ratio(vec x) {
    const vec e = exponential(x < splat(20) ? x : splat(20));
    const vec n = e * (e + real(2));
    return x < splat(20) ? n / (n + real(2)) : splat(1) + (x - x);
  }
  static vec value(vec x) { return x * ratio(x); }
  static vec slope(vec x) {
    const vec t = ratio(x);
    return t + x * logistic(x) * (real(1) - t * t);
  }
};
struct Gelu {  // x Phi(x) with the error function
  static vec value(vec x) {
    vec y;
    for (int n = 0; n < LANES; ++n) y[n] = x[n] * real(0.5) * std::erfc(-x[n] * real(0.70710678118654752440));
    return y;
  }
  static vec slope(vec x) {
    vec y;
    for (int n = 0; n < LANES; ++n)
      y[n] = real(0.5) * std::erfc(-x[n] * real(0.70710678118654752440)) +
             x[n] * real(0.39894228040143267794) * std::exp(real(-0.5) * x[n] * x[n]);
    return y;
  }
};
struct Same {
  static vec value(vec x) { return x; }
  static vec slope(vec x) { return splat(1) + (x - x); }
};

// The root of a sum of squares, at least of `least`.
static inline vec root(vec squares, real least) {
  squares = squares < splat(least) ? splat(least) : squares;
  vec y;
  for (int n = 0; n < LANES; ++n) y[n] = std::sqrt(squares[n]);
  return y;
}
