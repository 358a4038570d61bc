"""Networks: backbones by name, heads by name, and the regressor that joins them."""
