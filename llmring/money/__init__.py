"""Money of requests: what they may cost at the most, what is set aside for them, and the budgets it comes out of."""
