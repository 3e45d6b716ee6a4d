"""The chain task: a start, inputs, and every state on the way; depth and number of states are what makes it hard."""
