"""Receipts: what every attempt asked, got and cost, signed, chained and verifiable by strangers.

writer > store, keys, building        effects: disk and threads; ledger is the actor above them
auditing > processes                  whole ledgers, with every core
chain > checkpoint, merkle            what was altered, removed, moved, added or cut off
signing > receipt > canonical         what a receipt says, and its bytes
batching > batch_receipt              many receipts as one
contents                              digests of prompts and answers

Nothing here is loaded by `import llmring`, and the library of signatures only when one is made or checked.
"""

from llmring.receipts.batch_receipt import BatchReceipt
from llmring.receipts.generator import ReceiptGenerator
from llmring.receipts.receipt import Receipt
from llmring.receipts.signing import PrivateKey, PublicKey, ReceiptSigner

__all__ = ["BatchReceipt", "PrivateKey", "PublicKey", "Receipt", "ReceiptGenerator", "ReceiptSigner"]
