"""Verdicts: does a program finish, and if not, who waits for whom?"""
