"""Predicted and measured hangs, cell by cell, of real libraries."""
