"""What the simulated Business Messages and RCS share because both are APIs of Google's; it is no provider itself."""
