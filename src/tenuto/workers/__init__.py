"""Claim, run, record, finish: what holds tasks while they are carried out."""
