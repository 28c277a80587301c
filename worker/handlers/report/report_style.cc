#include "worker/handlers/report/report_style.h"

namespace penstock::report {

const std::string_view kReportStyle = R"css(
:root {
  color-scheme: light dark;
  --page: #f4f6f8; --card: #ffffff; --line: #d9dfe6; --text: #17202b; --soft: #566372; --code: #f1f4f7;
  --pass: #1f8a4c; --fail: #cf2b36; --error: #9c4b00; --skip: #8a95a3; --bar: #3a6ea5;
  --pass-soft: #e2f4e9; --fail-soft: #fdeaea; --pass-text: #14663a; --fail-text: #a81f2a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #10151b; --card: #19212a; --line: #2e3946; --text: #e5ebf1; --soft: #a0adbb; --code: #121920;
    --pass: #41b873; --fail: #f2626a; --error: #e8963c; --skip: #6f7c8b; --bar: #6ba3dc;
    --pass-soft: #16342a; --fail-soft: #3d1f25; --pass-text: #7fdba5; --fail-text: #ff9aa0;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  font-variant-numeric: tabular-nums;
}
.page { max-width: 1120px; margin: 0 auto; padding: 28px 20px 48px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 17px; line-height: 1.3; margin: 0 0 14px; }
h2 .count { color: var(--soft); font-weight: 400; }
p { margin: 0; }
.soft { color: var(--soft); }
.top { display: flex; flex-wrap: wrap; gap: 12px 24px; align-items: flex-start; justify-content: space-between; margin-bottom: 20px; }
.top > div { min-width: 0; flex: 1 1 420px; }
.verdict { border-radius: 999px; padding: 7px 16px; font-weight: 600; white-space: nowrap; }
.verdict.good { background: var(--pass-soft); color: var(--pass-text); }
.verdict.bad { background: var(--fail-soft); color: var(--fail-text); }
.verdict.none { background: var(--line); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 18px 20px; margin-bottom: 16px; }
.numbers { display: grid; grid-template-columns: repeat(6, minmax(0, 1fr)) minmax(max-content, 1fr);
  gap: 10px; margin: 0 0 16px; }
.numbers div { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 12px 14px; min-width: 0; }
.numbers dt { color: var(--soft); font-size: 13px; }
.numbers dd { margin: 0; font-size: 22px; font-weight: 600; line-height: 1.3; white-space: nowrap; }
.numbers .alarm dd { color: var(--fail-text); }
.charts { display: grid; grid-template-columns: 1fr 1fr; gap: 16px; }
.charts .card { display: flex; flex-direction: column; }
.outcomes { display: flex; align-items: center; gap: 28px; flex: 1; }
.outcomes svg { width: 172px; flex: none; display: block; }
.legend { list-style: none; margin: 0; padding: 0; flex: 1; }
.legend li { display: grid; grid-template-columns: 12px 1fr auto 58px; gap: 9px; align-items: center; padding: 4px 0; }
.legend i { width: 12px; height: 12px; border-radius: 3px; }
.legend .part { color: var(--soft); text-align: right; }
.histogram { width: 100%; max-width: 460px; height: auto; display: block; margin: 0 auto; }
svg text { fill: var(--text); font-family: inherit; }
svg .axis { fill: var(--soft); }
svg .rule { stroke: var(--line); }
.passed { fill: var(--pass); background: var(--pass); }
.failed { fill: var(--fail); background: var(--fail); }
.error { fill: var(--error); background: var(--error); }
.skipped { fill: var(--skip); background: var(--skip); }
.bar { fill: var(--bar); }
.ring { fill: none; background: none; }
.ring.track { stroke: var(--line); }
.ring.passed { stroke: var(--pass); }
.ring.failed { stroke: var(--fail); }
.ring.error { stroke: var(--error); }
.ring.skipped { stroke: var(--skip); }
.strip { width: 100%; height: 10px; display: block; border-radius: 3px; }
.slowest { list-style: none; margin: 0; padding: 0; }
.slowest li { display: grid; grid-template-columns: minmax(0, 1fr) 34% 92px; gap: 14px; align-items: center; padding: 5px 0; }
.name { overflow-wrap: anywhere; }
.time { text-align: right; white-space: nowrap; }
table { width: 100%; border-collapse: collapse; }
th { text-align: left; color: var(--soft); font-size: 13px; font-weight: 500; padding: 0 10px 6px; white-space: nowrap; }
td { padding: 7px 10px; border-top: 1px solid var(--line); }
th:first-child, td:first-child { padding-left: 0; }
th:last-child, td:last-child { padding-right: 0; }
td.number, th.number { text-align: right; white-space: nowrap; }
td.picture { width: 26%; }
td.alarm { color: var(--fail-text); font-weight: 600; }
details { border-top: 1px solid var(--line); }
details:last-of-type { border-bottom: 1px solid var(--line); }
summary { cursor: pointer; padding: 10px 2px 10px 24px; list-style: none; position: relative; }
summary::-webkit-details-marker { display: none; }
summary::before { content: "\25B8"; position: absolute; left: 4px; color: var(--soft); }
details[open] > summary::before { content: "\25BE"; }
summary:focus-visible { outline: 2px solid var(--bar); outline-offset: 2px; border-radius: 4px; }
.line { display: flex; gap: 12px; justify-content: space-between; align-items: baseline; }
.line .name { font-weight: 600; min-width: 0; }
.tag { display: inline-block; border-radius: 4px; padding: 0 7px; margin-right: 8px; font-size: 12px; font-weight: 600;
  color: #fff; vertical-align: 1px; }
.tag.failed { background: #bf2430; }
.tag.error { background: #8f4500; }
.suite { color: var(--soft); font-weight: 400; }
.brief { color: var(--soft); overflow-wrap: anywhere; display: block; }
details[open] > summary .brief { display: none; }
.body { padding: 0 0 14px 24px; }
.body dl { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: 2px 14px; margin: 0 0 8px; }
.body dt { color: var(--soft); }
.body dd { margin: 0; overflow-wrap: anywhere; }
pre { margin: 8px 0 0; padding: 12px 14px; background: var(--code); border: 1px solid var(--line); border-radius: 6px;
  font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  white-space: pre-wrap; overflow-wrap: anywhere; tab-size: 4; max-height: 480px; overflow-y: auto; }
.note { color: var(--soft); margin-top: 10px; }
footer { color: var(--soft); font-size: 13px; margin-top: 24px; }
@media (max-width: 900px) {
  .numbers { grid-template-columns: repeat(4, minmax(0, 1fr)); }
  .numbers div:last-child { grid-column: span 2; }
  .charts { grid-template-columns: minmax(0, 1fr); gap: 0; }
}
@media (max-width: 560px) {
  .page { padding: 20px 12px 32px; }
  h1 { font-size: 22px; }
  .top > div { flex-basis: 100%; }
  .card { padding: 14px; }
  .numbers { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 8px; }
  .outcomes { flex-direction: column; gap: 12px; }
  .legend { width: 100%; }
  .slowest li { grid-template-columns: minmax(0, 1fr) max-content; gap: 2px 10px; }
  .slowest .picture { grid-column: 1 / -1; grid-row: 2; }
  .wide { display: none; }
  td.picture { width: 22%; }
  td, th { padding-left: 6px; padding-right: 6px; }
  summary { padding-left: 18px; }
  summary::before { left: 0; }
  .body { padding-left: 0; }
}
@media print {
  body { background: none; }
  .card, .numbers div { break-inside: avoid; }
  pre { max-height: none; }
}
)css";

}  // namespace penstock::report
