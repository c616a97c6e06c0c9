"""Which endpoints a call may go to, in which order, and why. Pure."""
