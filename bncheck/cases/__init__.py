"""Where cases come from: recipes for the corners, random draws for the rest, arrays from replay ids, shrinking."""
