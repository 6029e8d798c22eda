"""Config: components and sections with their state, a form for each, a plan before anything is applied."""
