"""Runs on many machines: each is divided into units, which Ray spreads, retries and, with their states, lets go on."""
