
"use strict";
/* Data (made by reports/explorer.py):
   findings: names; values: words of the values 0, 1, ..; course: values are courses; kinds: kinds of texts;
   authors: {key, kind: teacher | preferred | arm, label, seed, before, best: places of authors, p: has likelihoods};
   texts: [text, kind, told, sentences]; told has one character per finding (a value, or "-" where it is not stated);
     a sentence is [characters since the sentence before, its own, finding * number of values + value, ..];
   studies: {i: id, p: patient, t: truth as told, m: the majority as told, r: place of the report, g: place of the image,
     s: for each author 0 or [place of the text, marks, {said, refused, p, from, cut}]};
   a mark is 0 right, 1 wrong, 2 without a label, plus 4 against t+, plus 8 against most teachers, plus 16 for each one.
   Whatever comes out of the data is put into the page as text, never as HTML. */
(() => {
const at = (id) => document.getElementById("xp-" + id);
const data = JSON.parse(document.getElementById("explorer-data").textContent);
let pictures = null;
const {findings, authors, texts, studies, values} = data;
const PAGE = 50, REFUSED = data.kinds.indexOf("refused"), NOTHING = data.kinds.indexOf("nothing");
const teachers = places("teacher"), arms = places("arm"), best = places("preferred");
const words = findings.map((name) => name.replaceAll("_", " "));
const CONTROLS = ["finding", "truth", "split", "who", "was", "who2", "was2", "q", "before", "after"];
const SIGNS = {right: "\u2713", wrong: "\u2717", mixed: "\u00b1", open: "?"};
const SAYS = {right: "right", wrong: "wrong", mixed: "partly right, partly wrong", open: "not labelled"};
const state = {study: ""};
let shown = [], page = 0, lower = null, timer = 0, typing = 0;

function places(kind) { return authors.flatMap((author, i) => (author.kind === kind ? [i] : [])); }

function make(tag, inside, attributes) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
  for (const part of [].concat(inside ?? [])) node.append(part);
  return node;
}

/* ---- what the data says ---- */

function told(study, who) {
  const own = study.s[who];
  return own ? (own[2] && own[2].said) || texts[own[0]][2] : null;
}

function unread(study, who) {
  const own = study.s[who], kind = own ? texts[own[0]][1] : -1;
  return kind === REFUSED || kind === NOTHING || Boolean(own && own[2] && own[2].refused);
}

/* Whether what was said of a finding counts as wrong; null where there is no label, or no text. */
function wrong(said, silent, truth, f) {
  if (said === null || truth[f] === "-") return null;
  if (silent) return true;
  return (said[f] === "-" && !data.course ? "0" : said[f]) !== truth[f];
}

function wrongIn(study, who, f) {
  if (who === "vote") return study.m ? wrong(study.m, false, study.t, f) : null;
  return wrong(told(study, who), unread(study, who), study.t, f);
}

function asked(f) { return f === "" ? findings.keys() : [Number(f)]; }

/* How many teachers stand against the larger group on a finding; -1 where fewer than two speak of it. */
function split(study, f) {
  const counts = {};
  let all = 0;
  for (const who of teachers) {
    const said = told(study, who);
    if (said && said[f] !== "-") { counts[said[f]] = (counts[said[f]] || 0) + 1; all += 1; }
  }
  return all < 2 ? -1 : all - Math.max(...Object.values(counts));
}

function errors(study, who, f) {
  let bad = 0, known = 0;
  for (const each of asked(f)) {
    const is = wrongIn(study, who, each);
    if (is !== null) { known += 1; bad += is ? 1 : 0; }
  }
  return {bad, known};
}

/* The likelihood and the text differ on a finding. */
function hides(study, who, f) {
  const own = study.s[who];
  if (!own || !own[2] || !own[2].p) return false;
  for (const each of asked(f)) {
    const p = own[2].p[each];
    if (p >= 0 && p !== 50 && (p > 50) !== (told(study, who)[each] === "1")) return true;
  }
  return false;
}

function oneWas(study, who, was, f) {
  if (was === "silent") return who !== "vote" && Boolean(study.s[who]) && unread(study, who);
  if (was === "hides") return who !== "vote" && hides(study, who, f);
  const {bad, known} = errors(study, who, f);
  return was === "wrong" ? bad > 0 : known > 0 && bad === 0;
}

function whoWas(study, who, was, f) {
  if (who === "") return true;
  if (who === "some") return teachers.some((each) => oneWas(study, each, was, f));
  if (who === "every") return teachers.length > 0 && teachers.every((each) => oneWas(study, each, was, f));
  return oneWas(study, who === "vote" ? who : Number(who), was, f);
}

function truthIs(study, f, want) {
  if (want === "") return true;
  const has = (value) => [...asked(f)].some((each) => study.t[each] === value);
  if (f === "" && want === "0" && !data.course) return has("0") && !has("1");
  return has(want);
}

function splitIs(study, f, want) {
  if (want === "") return true;
  const degree = Math.max(...[...asked(f)].map((each) => split(study, each)));
  return want === "0" ? degree === 0 : degree >= Number(want);
}

function plainer(text) { return text.normalize("NFKC").toLowerCase(); }

function matching(query) {
  const want = plainer(query.trim());
  if (!want) return null;
  lower = lower || texts.map((row) => plainer(row[0]));
  const hits = lower.map((text) => text.includes(want));
  return (study) => plainer(study.i).includes(want) || (study.p && plainer(study.p).includes(want))
    || (study.r !== undefined && hits[study.r]) || study.s.some((own) => own && hits[own[0]]);
}

/* ---- state: controls and the address ---- */

function value(name) { return at(name).value; }

function fill(name, groups) {
  const select = at(name);
  for (const [title, options] of groups) {
    const made = options.map(([key, label]) => make("option", label, {value: key}));
    if (title && made.length) select.append(make("optgroup", made, {label: title}));
    else select.append(...made);
  }
}

function options(list) { return list.map((i) => [String(i), authors[i].label]); }

function setUp() {
  const counts = findings.map((_, f) => studies.filter((study) => study.t[f] === "1").length);
  fill("finding", [["", [["", "any finding"]]], ["", words.map((word, f) => [String(f), data.course ? word : `${word} (${counts[f]} present)`])]]);
  fill("truth", [["", [["", "any"], ...values.map((word, v) => [String(v), word]).reverse(), ["-", "not labelled"]]]]);
  const most = Math.floor(teachers.length / 2);
  const degrees = Array.from({length: most}, (_, i) => [String(i + 1), `disagree: ${i + 1} or more against the rest`]);
  fill("split", [["", [["", "agree or not"], ...(most ? [["0", "all who speak of it agree"]] : []), ...degrees]]]);
  const crowd = teachers.length ? [["some", "any teacher"], ["every", "every teacher"], ["vote", "majority of the teachers"]] : [];
  const was = [["wrong", "wrong"], ["right", "right on all asked"], ["silent", "refused or said nothing"]];
  if (authors.some((author) => author.p)) was.push(["hides", "text and likelihood differ"]);
  for (const end of ["", "2"]) {
    fill("who" + end, [["", [["", "anyone"]]], ["Teachers", [...crowd, ...options(teachers)]], ["t+", options(best)], ["Student", options(arms)]]);
    fill("was" + end, [["", was]]);
  }
  fill("before", [["", [["", "none"], ...options(arms)]]]);
  fill("after", [["", [["", "none"], ...options(arms)]]]);
  defaults();
  at("scope").textContent = scope();
  legend();
}

/* The last arm that has one before it, and that. */
function defaults() {
  const after = arms.filter((i) => authors[i].before !== undefined && authors[i].best !== undefined).pop()
    ?? arms.filter((i) => authors[i].before !== undefined).pop() ?? arms.at(-1);
  const before = after === undefined ? undefined : authors[after].before;
  at("after").value = after === undefined ? "" : String(after);
  at("before").value = before === undefined ? "" : String(before);
}

function scope() {
  const {kept, lacking, full} = data.images, number = (n) => n.toLocaleString("en");
  const seeds = [...new Set(arms.map((i) => authors[i].seed))];
  const left = studies.length < data.all ? ` Of ${number(data.all)} tested studies the first ${number(studies.length)} fit into this page.` : "";
  const images = kept === studies.length ? " All have their image, made smaller." :
    ` ${number(kept)} have an image here, made smaller;${lacking ? ` of ${number(lacking)} none was kept` : ""}${lacking && full ? "," : ""}${full ? ` those of ${number(full)} were left out to keep the page small` : ""}.`;
  const who = arms.length ? ` Answers of each arm's first seed (${seeds.join(", ")}).` : "";
  return `${number(studies.length)} tested studies.${left}${images}${who} Sentences are judged by the rules that count the table; rules err.`;
}

function keyOf(name) {
  const own = value(name);
  if (["who", "who2", "before", "after"].includes(name) && /^\d+$/.test(own)) return authors[Number(own)].key;
  return name === "finding" && own !== "" ? findings[Number(own)] : own;
}

function restore(name, key) {
  const place = name === "finding" ? findings.indexOf(key) : authors.findIndex((author) => author.key === key);
  const control = at(name), wanted = place >= 0 && CONTROLS.includes(name) && name !== "q" ? String(place) : key;
  if (control.tagName === "SELECT" && ![...control.options].some((option) => option.value === wanted)) return;
  control.value = control.tagName === "SELECT" ? wanted : key;
}

function blank() { at("filters").reset(); defaults(); }

function read() {
  const [name, query] = location.hash.slice(1).split("?");
  if (name !== "studies" || query === undefined) return false;
  blank();
  state.study = "";
  for (const [key, own] of new URLSearchParams(query)) {
    if (key === "study") state.study = own;
    else if (CONTROLS.includes(key)) restore(key, own);
  }
  return true;
}

function keep() {
  clearTimeout(timer);
  timer = setTimeout(() => {
    const query = new URLSearchParams();
    for (const name of CONTROLS) {
      const own = keyOf(name), rest = {was: value("who") === "", was2: value("who2") === ""};
      if (own !== "" && !rest[name]) query.set(name, own);
    }
    if (state.study !== "") query.set("study", state.study);
    const hash = "#studies?" + query;
    try { history.replaceState(null, "", hash); } catch { location.hash = hash; }
  }, 120);
}

/* ---- the list ---- */

function filter() {
  const f = value("finding"), truth = value("truth"), degree = value("split"), hit = matching(value("q"));
  const pairs = ["", "2"].map((end) => [value("who" + end), value("was" + end)]);
  shown = studies.filter((study) => truthIs(study, f, truth) && splitIs(study, f, degree)
    && pairs.every(([who, was]) => whoWas(study, who, was, f)) && (!hit || hit(study)));
  at("count").textContent = `${shown.length.toLocaleString("en")} of ${studies.length.toLocaleString("en")} studies`;
  at("was").disabled = value("who") === "";
  at("was2").disabled = value("who2") === "";
  if (current() < 0) state.study = shown.length ? shown[0].i : "";
  tally();
  list();
  show();
}

function current() { return shown.findIndex((study) => study.i === state.study); }

function list() {
  page = Math.max(0, Math.floor(current() / PAGE));
  const first = page * PAGE, last = Math.min(first + PAGE, shown.length);
  const held = at("list").contains(document.activeElement);
  at("list").replaceChildren(...shown.slice(first, last).map(entry));
  if (held) (at("list").querySelector("[aria-current]") || at("q")).focus({preventScroll: true});
  at("list").start = first + 1;
  at("page").textContent = shown.length ? `${first + 1} to ${last}` : "none";
  at("less").disabled = page === 0;
  at("more").disabled = last >= shown.length;
}

function entry(study) {
  const f = value("finding");
  const truth = f === "" ? truthOf(study) : `${words[f]}: ${nameOf(study.t[f], "not labelled")}`;
  const notes = ["before", "after"].filter((name) => value(name) !== "").map((name) => brief(study, name, f));
  const button = make("button", [study.i, make("small", truth), make("small", notes.filter(Boolean).join(" \u00b7 "))], {type: "button"});
  turn(button, study.i === state.study);
  button.addEventListener("click", () => choose(study.i));
  return make("li", button);
}

function brief(study, name, f) {
  const {bad, known} = errors(study, Number(value(name)), f);
  if (!study.s[Number(value(name))] || !known) return "";
  return bad ? `${name} \u2717 ${bad} wrong` : `${name} \u2713 right`;
}

function nameOf(letter, otherwise) { return letter === "-" ? otherwise : values[Number(letter)]; }

function truthOf(study) {
  if (data.course) return words.flatMap((word, f) => (study.t[f] === "-" ? [] : [`${word} ${nameOf(study.t[f])}`])).join(", ") || "no label";
  const present = words.filter((_, f) => study.t[f] === "1"), open = words.filter((_, f) => study.t[f] === "-");
  return (present.join(", ") || (open.length === words.length ? "no label" : "none of the findings")) + (open.length && open.length < words.length ? ` (not labelled: ${open.join(", ")})` : "");
}

function choose(id, focus) {
  state.study = id;
  if (Math.floor(current() / PAGE) !== page) list();
  const box = at("list");
  [...box.querySelectorAll("button")].forEach((button, i) => turn(button, i + page * PAGE === current()));
  show();
  keep();
  const row = box.querySelector("[aria-current]"), top = row.offsetTop;
  if (top < box.scrollTop || top + row.offsetHeight > box.scrollTop + box.clientHeight) box.scrollTop = top - box.clientHeight / 3;
  if (focus) row.focus({preventScroll: true});
}

/* One row of the list can be reached by the tab key: the one that is shown. */
function turn(button, here) {
  button.tabIndex = here ? 0 : -1;
  if (here) button.setAttribute("aria-current", "true");
  else button.removeAttribute("aria-current");
}

function step(by, focus) {
  const place = Math.min(Math.max(current() + by, 0), shown.length - 1);
  if (place >= 0 && place !== current()) choose(shown[place].i, focus);
}

function tally() {
  const body = at("tally-body");
  if (!at("tally").open) { body.replaceChildren(); return; }
  const f = value("finding"), rows = [...teachers, ...(teachers.length ? ["vote"] : []), ...best, ...arms].map((who) => {
    let bad = 0, known = 0;
    for (const study of shown) { const found = errors(study, who, f); known += found.known ? 1 : 0; bad += found.bad ? 1 : 0; }
    return make("tr", [make("th", who === "vote" ? "majority of the teachers" : authors[who].label, {scope: "row"}),
      make("td", String(bad)), make("td", String(known)), make("td", known ? `${Math.round(100 * bad / known)} %` : "")]);
  });
  const head = make("tr", ["", "wrong on", "of studies with a label", "share"].map((title) => make("th", title, {scope: "col"})));
  const about = f === "" ? "any finding" : words[f];
  body.replaceChildren(make("p", `Wrong on ${about}, on the studies found.`, {class: "xp-quiet"}),
    make("div", make("table", [make("thead", head), make("tbody", rows)]), {class: "xp-scroll", tabindex: "0", role: "region", "aria-label": "Who was wrong"}));
}

/* ---- one study ---- */

function show() {
  const place = current(), study = shown[place];
  at("previous").disabled = place <= 0;
  at("next").disabled = place < 0 || place === shown.length - 1;
  at("name").textContent = study ? study.i : "No study fits: change a filter, or choose a finding (else right and wrong are meant of all)";
  at("place").textContent = study ? `${place + 1} of ${shown.length}` : "";
  at("said").textContent = study ? `Study ${study.i}, ${place + 1} of ${shown.length}` : "No study fits these filters";
  at("body").replaceChildren(...(study ? bodyOf(study) : [make("p", "Change a filter, or show all.")]));
}

function bodyOf(study) {
  const before = value("before"), after = value("after"), own = after === "" ? undefined : authors[Number(after)].best;
  const chosen = [before, after].filter((i, place, all) => i !== "" && all.indexOf(i) === place).map(Number);
  const others = arms.filter((i) => !chosen.includes(i) && study.s[i]);
  const first = best.filter((i) => own === undefined || i === own), rest = best.filter((i) => !first.includes(i) && study.s[i]);
  const parts = [top(study), table(study, [...teachers, ...(study.m ? ["vote"] : []), ...first, ...chosen])];
  parts.push(...group("Teachers", study, teachers), ...group("Preferred, t+", study, first));
  const titles = {[before]: "before", [after]: "after"};
  parts.push(...group("Student", study, chosen, (i) => (before === after ? "" : titles[String(i)])));
  const more = [...rest, ...others];
  if (more.length) {
    const fold = make("details", make("summary", `The other arms (${more.length})`));
    fold.addEventListener("toggle", () => { if (fold.open && fold.childElementCount === 1) fold.append(...group("", study, more)); });
    parts.push(fold);
  }
  return parts;
}

function top(study) {
  const right = [line("Truth", truthOf(study))];
  if (study.p) right.push(line("Patient", study.p));
  if (study.r !== undefined) right.push(line("Reference report", texts[study.r][0], "xp-text"));
  return make("div", [make("div", picture(study)), make("div", right)], {class: "xp-top"});
}

function picture(study) {
  if (study.g === undefined) return make("p", "No image here.", {class: "xp-quiet"});
  pictures = pictures || JSON.parse(document.getElementById("explorer-images").textContent);
  return make("img", null, {src: pictures[study.g], alt: `Radiograph of study ${study.i}`, decoding: "async"});
}

function line(title, text, kind) { return make("p", [make("b", `${title}: `), make("span", text, kind ? {class: kind} : {})]); }

function table(study, columns) {
  const there = columns.filter((who) => who === "vote" || study.s[who]), f = value("finding");
  const head = make("tr", [make("th", "", {scope: "col"}), make("th", "truth", {scope: "col"}),
    ...there.map((who) => make("th", who === "vote" ? "majority" : authors[who].label, {scope: "col"}))]);
  const rows = words.map((word, each) => make("tr", [make("th", word, {scope: "row"}), make("td", nameOf(study.t[each], "\u2013")),
    ...there.map((who) => cell(study, who, each))], f === String(each) ? {class: "xp-asked"} : {}));
  return make("div", make("table", [make("thead", head), make("tbody", rows)]),
    {class: "xp-scroll", tabindex: "0", role: "region", "aria-label": "What everyone says of each finding"});
}

function cell(study, who, f) {
  const said = who === "vote" ? study.m : told(study, who), is = wrongIn(study, who, f), own = who === "vote" ? null : study.s[who];
  const word = who !== "vote" && unread(study, who) ? "\u2013" : nameOf(said[f], "not said");
  const inside = [word + " "];
  if (is !== null) inside.push(make("span", is ? SIGNS.wrong : SIGNS.right, {class: is ? "xp-bad" : "xp-good", "aria-hidden": "true"}), make("span", is ? "wrong" : "right", {class: "xp-sr"}));
  if (own && own[2] && own[2].p && own[2].p[f] >= 0) inside.push(make("small", ` p ${(own[2].p[f] / 100).toFixed(2)}`));
  return make("td", inside);
}

function group(title, study, list, note) {
  const there = list.filter((who) => study.s[who]);
  if (!there.length) return [];
  const parts = there.flatMap((who) => [make("dt", [authors[who].label, ...(note && note(who) ? [make("small", note(who))] : [])]), said(study, who)]);
  return [...(title ? [make("h4", title)] : []), make("dl", parts, {class: "xp-said"})];
}

function said(study, who) {
  const [place, marks, more] = study.s[who], [text] = texts[place];
  const inside = [], notes = [];
  let end = 0, next = 0;
  for (const [from, to, stated] of sentencesOf(texts[place])) {
    const own = marks.slice(next, next + stated.length);
    next += own.length;
    if (from < end) continue;
    inside.push(text.slice(end, from), sentence(text.slice(from, to), stated, own));
    notes.push(make("li", [`\u201c${text.slice(from, to)}\u201d `, explain(study, who, stated, own)]));
    end = to;
  }
  inside.push(text.slice(end) || (text ? "" : "(empty)"));
  const parts = [make("p", inside, {class: "xp-text", dir: "auto"}), verdict(study, who, more || {})];
  if (notes.length) parts.push(make("details", [make("summary", "Sentence by sentence"), make("ul", notes)]));
  return make("dd", parts);
}

/* [start, end, [[finding, value], ..]] of each sentence. */
function sentencesOf([, , , packed]) {
  let end = 0;
  return packed.map(([gap, length, ...codes]) => {
    const start = end + gap;
    end = start + length;
    return [start, end, codes.map((code) => [Math.floor(code / values.length), code % values.length])];
  });
}

function stateOf(marks) {
  const right = marks.some((mark) => mark % 4 === 0), bad = marks.some((mark) => mark % 4 === 1);
  return right && bad ? "mixed" : bad ? "wrong" : right ? "right" : "open";
}

function sentence(text, stated, marks) {
  const kind = stateOf(marks), clash = marks.some((mark) => mark & 12), f = value("finding");
  const about = f !== "" && stated.some(([name]) => name === Number(f));
  const aloud = `${SAYS[kind]}${clash ? ", contradicted" : ""}`;
  const inside = [text, make("span", SIGNS[kind], {class: "xp-sign", "aria-hidden": "true"})];
  if (clash) inside.push(make("span", "\u2260", {class: "xp-sign clash", "aria-hidden": "true"}));
  inside.push(make("span", ` [${aloud}] `, {class: "xp-sr"}));
  return make("span", inside, {class: `xp-mark ${kind}${clash ? " clash" : ""}${about ? " asked" : ""}`});
}

function explain(study, who, stated, marks) {
  return marks.map((mark, i) => {
    const [f, v] = stated[i], against = mark >> 4;
    const others = teachers.filter((each) => each !== who && study.s[each] && texts[study.s[each][0]][2][f] !== "-").length;
    const is = mark % 4 === 2 ? "not labelled" : mark % 4 ? `wrong, truth ${nameOf(study.t[f])}` : "right";
    const versus = against ? `; ${against} of ${others} ${authors[who].kind === "teacher" ? "other " : ""}teachers contradict` : "";
    return `${words[f]} ${values[v]}: ${is}${mark & 4 ? "; contradicts t+" : ""}${versus}`;
  }).join(". ");
}

function verdict(study, who, more) {
  const bad = words.filter((_, f) => wrongIn(study, who, f)), known = [...findings.keys()].some((f) => study.t[f] !== "-");
  const silent = unread(study, who), extra = [];
  if (more.from) extra.push(`taken from ${more.from}`);
  if (more.cut) extra.push("cut off at max_new_tokens");
  const text = silent ? `refused or says nothing${known ? ": wrong on every labelled finding" : ""}`
    : !known ? "no label to compare with" : bad.length ? `wrong on ${bad.join(", ")}` : "right on every labelled finding";
  const kind = silent && known || bad.length ? "wrong" : known ? "right" : "";
  const sign = kind ? make("span", `${SIGNS[kind]} `, {"aria-hidden": "true"}) : "";
  return make("p", [sign, [text, ...extra].join("; ")], {class: `xp-verdict ${kind}`});
}

function legend() {
  const row = (kind, clash, text) => make("li", [make("span", ["a sentence", make("span", clash ? "\u2260" : SIGNS[kind], {class: `xp-sign${clash ? " clash" : ""}`})],
    {class: `xp-mark ${kind}${clash ? " clash" : ""}`}), ` ${text}`]);
  const several = best.length > 1 ? " (an arm's own; for teachers, the last)" : "";
  const other = best.length ? `t+${several} or ` : "";
  at("legend").replaceChildren(
    row("right", false, "solid line: what it states is right"),
    row("wrong", false, "wavy line: what it states is wrong"),
    row("mixed", false, "double line: right on one finding, wrong on another"),
    row("open", false, "dotted line: states a finding that has no label here"),
    row("", true, `dashed line above: contradicted by ${other}most of the ${best.length ? "" : "other "}teachers who speak of the finding, in whether it is there or on which side; a right sentence may be`),
    make("li", data.course ? "Unmarked sentences tell no course of a finding. What is not said counts as wrong." :
      "Unmarked sentences state no finding of the table. A finding that is not said counts as absent; a refusal counts as wrong."));
}

/* ---- what the reader does ---- */

function listen() {
  const form = at("filters");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { defaults(); filter(); keep(); }));
  for (const name of CONTROLS.filter((each) => each !== "q")) at(name).addEventListener("change", () => { filter(); keep(); });
  at("q").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => { filter(); keep(); }, 120); });
  at("tally").addEventListener("toggle", tally);
  at("previous").addEventListener("click", () => step(-1));
  at("next").addEventListener("click", () => step(1));
  at("less").addEventListener("click", () => choose(shown[(page - 1) * PAGE].i));
  at("more").addEventListener("click", () => choose(shown[(page + 1) * PAGE].i));
  document.addEventListener("keydown", pressed);
  window.addEventListener("hashchange", () => { if (read()) filter(); });
}

function pressed(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
  const key = event.key, target = event.target, inList = at("list").contains(target);
  const moves = {ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -shown.length, End: shown.length};
  if (inList && key in moves) { event.preventDefault(); step(moves[key], true); return; }
  if (target === at("q") && key === "Escape") { clearTimeout(typing); at("q").value = ""; target.blur(); filter(); keep(); return; }
  if (!at("keys").checked || target.closest?.("select, textarea, input:not([type=checkbox]), [contenteditable]")) return;
  if (key === "j") step(1, inList);
  else if (key === "k") step(-1, inList);
  else if (key === "/") { event.preventDefault(); at("q").focus(); at("q").select(); }
}

setUp();
listen();
const linked = read();
filter();
at("app").hidden = false;
if (linked) document.getElementById("studies").scrollIntoView();
})();
