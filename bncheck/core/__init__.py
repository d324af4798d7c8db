"""The mathematics: reference equations, line probe, tolerances. Calls no user code."""
