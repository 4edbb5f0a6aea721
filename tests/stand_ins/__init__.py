"""Servers that stand in for services that tests cannot reach; each says what it is and what it does not prove."""
