//! What is said in the sample about licences.

pub(super) const QUESTION: &str = "Which of these licences mention patents?";

pub(super) const RULES: &str = "You answer a question about a context that is too large to be shown. It is in \
the variable `context` of a Python session. Write code in ```python blocks; what it prints comes \
back. `query_llm(prompts)` asks a model about pieces, `rlm_query(question, context)` has a question \
answered like this one. End with `final(answer)`.";

pub(super) const LOOK: &str = "I will look at what there is before I read any of it.\n\n```python\nfor name, \
text in context.items():\n    print(f\"{name:12} {len(text):6} {text[:40]!r}\")\nprint(context[\"Zlib\"])\n```";
pub(super) const LOOK_CODE: &str = "for name, text in context.items():\n    print(f\"{name:12} {len(text):6} \
{text[:40]!r}\")\nprint(context[\"Zlib\"])\n";
pub(super) const LOOK_OUT: &str = "Apache-2.0    11358 'Apache License\\nVersion 2.0, January 2004'\n\
BSD-3-Clause   1499 'Redistribution and use in source and bin'\n\
GPL-3.0       35149 'GNU GENERAL PUBLIC LICENSE\\nVersion 3, 29'\n\
ISC             741 'Permission to use, copy, modify, and/or '\n\
MIT            1078 'Permission is hereby granted, free of ch'\n\
MPL-2.0       16726 'Mozilla Public License Version 2.0\\n====='\n";
pub(super) const LOOK_ERR: &str = "Traceback (most recent call last):\n  File \"<step 1>\", line 3, in <module>\n    \
print(context[\"Zlib\"])\n          ~~~~~~~^^^^^^^^\nKeyError: 'Zlib'\n";

pub(super) const ASK: &str = "There are six texts, and no Zlib among them. Each is small enough for one query, \
except that the GPL deserves a closer look.\n\n```python\nnames = list(context)\nreplies = \
query_llm([f\"Does this licence mention patents? Answer yes or no, then quote.\\n\\n{context[n]}\" \
for n in names])\nfor name, reply in zip(names, replies):\n    print(name, \"->\", \
reply)\n\ngpl = rlm_query(\"Which sections speak of patents, and what do they say?\", \
context[\"GPL-3.0\"])\nprint(gpl)\n```";
pub(super) const ASK_CODE: &str = "names = list(context)\nreplies = query_llm([f\"Does this licence mention \
patents? Answer yes or no, then quote.\\n\\n{context[n]}\" for n in names])\nfor name, reply in \
zip(names, replies):\n    print(name, \"->\", reply)\n\ngpl = rlm_query(\"Which sections speak of \
patents, and what do they say?\", context[\"GPL-3.0\"])\nprint(gpl)\n";
pub(super) const ASK_OUT: &str = "Apache-2.0 -> Yes: section 3, \"Grant of Patent License\".\nBSD-3-Clause -> \
No.\nGPL-3.0 -> None\nISC -> No.\nMIT -> No.\nMPL-2.0 -> Yes: sections 2.1 and 5.2.\nSection 11 \
\"Patents\" grants a licence from every contributor; section 10 forbids patent litigation.\n";

pub(super) const ANSWER: &str = "Three of the six mention patents:\n\n- **Apache-2.0** grants a patent licence in \
section 3, which ends for whoever sues.\n- **GPL-3.0** has section 11, \"Patents\", and forbids \
patent litigation in section 10.\n- **MPL-2.0** grants one in 2.1 and ends it in 5.2.\n\nBSD-3-Clause, \
ISC and MIT do not mention them.";

pub(super) const SUB_REPLIES: [Option<&str>; 6] = [
    Some("Yes: section 3, \"Grant of Patent License\"."),
    Some("No."),
    None,
    Some("No."),
    Some("No."),
    Some("Yes: sections 2.1 and 5.2."),
];

pub(super) const NAMES: [(&str, u64, u64); 6] = [
    ("Apache-2.0", 11_358, 202),
    ("BSD-3-Clause", 1499, 28),
    ("GPL-3.0", 35_149, 674),
    ("ISC", 741, 13),
    ("MIT", 1078, 21),
    ("MPL-2.0", 16_726, 373),
];
