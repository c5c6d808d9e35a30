"""The audit: can an attacker who trains models of their own tell that a model has seen what it was asked to forget?"""
