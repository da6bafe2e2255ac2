"""Knowledge distillation into a smaller student."""
