"""Whether texts are worth their price, told on a sample before a model is trained."""
