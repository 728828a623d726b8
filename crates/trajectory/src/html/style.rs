//! How a page looks.

/// The style sheet: light and dark, and narrow enough for a phone.
pub(super) const STYLE: &str = r#"
:root{--bg:#f7f7f5;--card:#fff;--in:#fafaf8;--line:#e2e2dc;--text:#1d2127;--faint:#646b76;
--good:#1a7f4b;--goodbg:#e3f4ea;--odd:#8a5a00;--oddbg:#fdf1d5;--bad:#b3261e;--badbg:#fbe6e4;
--model:#5b6ee1;--code:#12a594;--mono:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
@media (prefers-color-scheme:dark){:root{--bg:#131519;--card:#1b1e24;--in:#16191e;--line:#2e333c;
--text:#e4e6ea;--faint:#98a0ad;--good:#5fd39a;--goodbg:#12301f;--odd:#eab54d;--oddbg:#33270c;
--bad:#ff8b82;--badbg:#3b1715;--model:#8391ff;--code:#2fc9b6}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--text);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;-webkit-text-size-adjust:100%}
main{max-width:60rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1{font-size:1.75rem;line-height:1.25;margin:.4rem 0 1.4rem;letter-spacing:-.01em;overflow-wrap:anywhere;unicode-bidi:isolate}
h2{font-size:1.05rem;margin:0 0 .5rem}
p{margin:.4rem 0}
.over{display:flex;flex-wrap:wrap;gap:.3rem .9rem;align-items:center;color:var(--faint);font-size:.86rem;margin:0}
.over span{overflow-wrap:anywhere}
.faint,.more{color:var(--faint);font-size:.86rem}
.small{font-size:.86rem}
.badge{display:inline-block;border-radius:1rem;padding:.05rem .6rem;font-size:.78rem;font-weight:600;
background:var(--oddbg);color:var(--odd);white-space:nowrap;max-width:100%;overflow:hidden;text-overflow:ellipsis}
.badge.good{background:var(--goodbg);color:var(--good)}
.badge.bad{background:var(--badbg);color:var(--bad)}
.note{background:var(--oddbg);color:var(--odd);border-radius:.5rem;padding:.55rem .9rem;margin:.6rem 0;font-size:.92rem;overflow-wrap:anywhere}
.answer{background:var(--card);border:1px solid var(--line);border-left:4px solid var(--odd);border-radius:.6rem;padding:1rem 1.2rem;margin:1rem 0}
.answer.good{border-left-color:var(--good)}.answer.bad{border-left-color:var(--bad)}
.answer.good h2{color:var(--good)}.answer.bad h2{color:var(--bad)}.answer.odd h2{color:var(--odd)}
.why{color:var(--odd);font-size:.92rem}
pre{margin:.35rem 0;white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:isolate;tab-size:4;max-height:32rem;overflow:auto}
pre.prose{font:inherit}
.answer pre.prose{max-height:none;font-size:1.05rem}
.in pre.prose{background:var(--in);border:1px solid var(--line);border-radius:.4rem;padding:.6rem .8rem;font-size:.92rem}
.in .box pre.prose{background:none;border:0;padding:0;margin:.1rem 0}
pre.code,pre.out,pre.talk,code{font:.84rem/1.5 var(--mono)}
pre.code,pre.out,pre.talk{background:var(--in);border:1px solid var(--line);border-radius:.4rem;padding:.65rem .8rem}
pre.code{border-left:3px solid var(--code)}
pre.err{border-left:3px solid var(--bad);color:var(--bad)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.4rem,1fr));gap:.7rem;margin:1rem 0 .3rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:.7rem .8rem;display:flex;flex-direction:column}
.card b{font-size:1.3rem;overflow-wrap:anywhere;font-weight:650;font-variant-numeric:tabular-nums;letter-spacing:-.01em}
.card span{color:var(--faint);font-size:.8rem}
.bar,.track{position:relative;display:block;height:4px;border-radius:2px;background:var(--line);overflow:hidden;text-decoration:none}
.bar{margin-top:auto;top:.15rem}
.bar i,.track i{position:absolute;top:0;bottom:0;min-width:2px;background:var(--model)}
.bar i.near{background:var(--bad)}
.track i.c,.legend i.c{background:var(--code)}
.legend{color:var(--faint);font-size:.84rem}
.legend i{display:inline-block;width:.75rem;height:.5rem;border-radius:2px;background:var(--model);margin:0 .2rem 0 .8rem}
.legend i:first-child{margin-left:0}
.facts{margin:1rem 0 0}
dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:.25rem 1rem;margin:.6rem 0;font-size:.92rem}
dt{color:var(--faint)}dd{margin:0;overflow-wrap:anywhere;unicode-bidi:isolate}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.86rem;width:100%}
th,td{text-align:left;padding:.3rem .7rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--faint);font-weight:500}
td:nth-child(2),td:nth-child(3),th:nth-child(2),th:nth-child(3){text-align:right;font-variant-numeric:tabular-nums}
.steps{margin-top:2rem}
summary{cursor:pointer;list-style:none;border-radius:.4rem}
summary::-webkit-details-marker{display:none}
summary::before{content:"";flex:none;width:.42rem;height:.42rem;border-right:2px solid var(--faint);border-bottom:2px solid var(--faint);
transform:rotate(-45deg);display:inline-block;margin:0 .45rem 0 .1rem}
details[open]>summary::before{transform:rotate(45deg)}
summary:focus-visible{outline:2px solid var(--model);outline-offset:2px}
.fold>summary,.facts>summary{color:var(--faint);font-size:.86rem;padding:.15rem 0;overflow-wrap:anywhere}
.fold>summary:hover,.facts>summary:hover{color:var(--text)}
.step,.node{background:var(--card);border:1px solid var(--line);border-radius:.6rem;margin:.6rem 0}
.step>summary,.node>summary,.call>summary,p.call,.head{display:flex;flex-wrap:wrap;align-items:center;gap:.15rem .55rem}
.step>summary,.node>summary{padding:.6rem .9rem;font-weight:650}
.x{color:var(--faint);font-weight:400;min-width:0;overflow:hidden;text-overflow:ellipsis;white-space:nowrap;unicode-bidi:isolate}
.step>summary>.x,.node>summary>.x{flex:1 1 10rem}
.fig{color:var(--faint);font-size:.84rem;font-weight:400;margin-left:auto;font-variant-numeric:tabular-nums}
.step>summary>.track{flex:1 0 100%;margin-top:.4rem}
.step>.in,.node>.in{padding:.1rem .9rem .8rem;border-top:1px solid var(--line)}
.cmd{margin:.8rem 0 .4rem}
.head{margin:0}
.call{margin:.4rem 0;border:1px solid var(--line);border-radius:.4rem}
p.call,.call>summary{padding:.35rem .7rem;font-size:.92rem}
.call>.in{padding:0 .7rem .5rem}
.call>.in>.node{background:var(--bg)}
.large{--number:3rem}
.query{border-top:1px solid var(--line)}
.query>summary{display:grid;grid-template-columns:.9rem var(--number,1.3rem) minmax(0,1fr) minmax(0,1fr) 4.2rem 5rem;gap:0 .5rem;align-items:center;
padding:.3rem 0;font-size:.88rem}
.query .n{color:var(--faint);font-variant-numeric:tabular-nums}
.query .said{color:var(--text)}
.query.failed .said,.query.failed .fig{color:var(--bad)}
.query>.in{padding:0 0 .6rem .9rem}
.query{content-visibility:auto;contain-intrinsic-size:auto 2rem}
.box{border-left:3px solid var(--line);padding:.3rem .8rem;margin:.6rem 0;font-size:.92rem;border-radius:.2rem}
.box b{font-size:.84rem}
.box.good{border-color:var(--good)}.box.good b{color:var(--good)}
.box.odd{border-color:var(--odd);background:var(--oddbg)}.box.odd b{color:var(--odd)}
.box.bad{border-color:var(--bad);background:var(--badbg)}.box.bad b{color:var(--bad)}
footer{margin-top:2.5rem;color:var(--faint);font-size:.84rem}
@media (max-width:40rem){main{padding:1.25rem .8rem 3rem}h1{font-size:1.35rem}
.cards{grid-template-columns:repeat(2,minmax(0,1fr))}
.step>summary>.x,.node>summary>.x{flex:1 0 100%;order:5;white-space:normal;display:-webkit-box;-webkit-line-clamp:2;-webkit-box-orient:vertical}
.step>summary>.fig,.node>summary>.fig{margin-left:0;flex:1 0 100%;order:4}
.step>summary>.track{order:6}
.step>.in,.node>.in{padding:.1rem .6rem .7rem}
dl{grid-template-columns:minmax(0,1fr);gap:0}dd{margin-bottom:.4rem}
.query>summary{grid-template-columns:.9rem var(--number,1.3rem) minmax(0,1fr) auto}
.query>summary>.said{grid-column:3;grid-row:2}.query>summary>.track{display:none}
}
@media print{pre{max-height:none}.step,.card,.answer{break-inside:avoid}}
"#;
