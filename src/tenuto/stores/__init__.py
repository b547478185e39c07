"""Where the truth lives: one contract (`base`), several engines."""
