"""The fire drill: a sandbox court on L1, an operator who cheats in it, and a judge who looks at L1 alone."""
