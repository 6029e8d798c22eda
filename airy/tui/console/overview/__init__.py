"""Overview: the processes, components and actors of an installation, and its rates."""
