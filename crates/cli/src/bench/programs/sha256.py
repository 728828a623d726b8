import hashlib
from time import perf_counter

data = bytes(range(256)) * 4096
began = perf_counter()
for _ in range(4):
    digest = hashlib.sha256(data).hexdigest()
assert len(digest) == 64
print(perf_counter() - began)
