"""Reads a number and prints the next one."""

print(int(input()) + 1)
