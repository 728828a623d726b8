import json
from time import perf_counter

data = [{"id": n, "name": f"item {n}", "tags": ["a", "b", "c"], "price": n / 7} for n in range(3000)]
began = perf_counter()
for _ in range(5):
    text = json.dumps(data)
    assert len(json.loads(text)) == 3000
print(perf_counter() - began)
