package model

// given is what comes with a right.
func given(r right) rights { return rights{r: true} }
