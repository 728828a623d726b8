"""Serves a model until standard input ends: python serve.py MODEL CONTEXT SLOTS [KEY].

The port is the system's choice; the first line of standard output is the address. Whoever started
this holds the other end of standard input, so that it ends with them, however they end.
"""

import os
import sys

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.model_alias = {"chains"}
params.n_ctx = int(sys.argv[2])
params.n_parallel = int(sys.argv[3])
params.api_keys = sys.argv[4:5]
params.hostnames = ["127.0.0.1"]
params.port = 0
params.offline = True
params.ui = False
# One thread for the model leaves the machine to those who test; enough of them for HTTP that
# nobody waits for a thread.
params.cpuparams.n_threads = 1
params.cpuparams_batch.n_threads = 1
params.n_threads_http = 16

server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
# No orderly end: it would wait for replies that nobody reads.
os._exit(0)
