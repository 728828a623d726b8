import re
from time import perf_counter

text = "The quick brown fox (born 2021-03-14) mailed fox@example.org about 1,234 things. " * 400
began = perf_counter()
for _ in range(5):
    assert len(re.findall(r"[\w.]+@[\w.]+\w", text)) == 400
    assert len(re.findall(r"\d{4}-\d{2}-\d{2}", text)) == 400
    assert len(re.sub(r"\b(\w)(\w*)\b", r"\2\1", text)) == len(text)
print(perf_counter() - began)
