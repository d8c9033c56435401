"""The broker that keeps jobs in Redis (6.2 and later) or Valkey.

broker.py      RedisBroker: one method for each of base.Broker's
scripts.py     one typed method for each .lua file: every transition is one script
keys.py        every key and channel, and what it holds
batches.py     many messages or outcomes in commands of a bounded size
replies.py     what scripts answer, as the types of base
connection.py  a pool of connections; `exchange` is one round trip
aio.py         the same for asyncio
cluster.py     connections to all servers of a cluster
routing.py     which of them gets what, and what is made of what comes back
slots.py       which of them has which key
sentinel.py    connections to the master that sentinels name
network.py     which of these an address asks for
mailbox.py     the connection on which bells arrive
address.py     URLs
audit.py       looks through a live store for damage: survey.py (keys), audit_queue.py (a queue),
               walks.py (what is too long for one script), audit_calls.py (its scripts)
vitals.py      what an operator should know of the server itself
failures.py    redis-py's exceptions, translated
"""
