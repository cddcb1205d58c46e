"""What nequip's models and files mean, without nequip."""
