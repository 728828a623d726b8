"""The packages that are bundled, doing a little work."""

import argparse
from datetime import date

import more_itertools
import yaml
from dateutil.relativedelta import relativedelta
from jinja2 import Template
from tabulate import tabulate

parser = argparse.ArgumentParser()
parser.add_argument("--name", default="reader")
name = parser.parse_args().name

plan = yaml.safe_load("""
- {task: measure, weeks: 1}
- {task: build, weeks: 3}
- {task: look, weeks: 1}
""")
start = date(2026, 1, 5)
ends = [start + relativedelta(weeks=sum(step["weeks"] for step in plan[: n + 1])) for n in range(len(plan))]
rows = [(step["task"], begin, end) for step, (begin, end) in zip(plan, more_itertools.pairwise([start, *ends]))]
print(Template("A plan for {{ name }}:").render(name=name))
print(tabulate(rows, headers=["task", "from", "to"]))
