"""Reports: what a ledger of receipts comes to, for people. Values and text; llmring/cli/ reads and writes files.

page > charts                          a report as one HTML file
reconcile > billed > exports           a provider's usage export against the ledger
flat                                   receipts as the rows of a table
summary > totals > latency             counts, tokens, dollars and latency by group, in one pass
attempts | period                      what is read of a receipt; days and spans of time

Nothing here knows how a ledger is kept: rows come in, as a store hands them out.
"""
