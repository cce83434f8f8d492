"""Pure decisions: facts in, a frozen decision out. Nothing here touches a network, a clock or a file."""
