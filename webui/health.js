/*
 * Is the run learning something? Rules over the figures of the stream "ssl"; each says which one fired.
 * The loss decides nothing: it is a proxy that may rise while the features get better.
 */
import {make} from "./dom.js";
import {number} from "./format.js";
import {sign} from "./states.js";

const PAIR_MAX = 0.9, RANK_FALL = 0.3, STD_FALL = 0.5;
const known = (data) => (data ? data.last.map((value, i) => [data.step[i], value]).filter(([, value]) => value !== null) : []);
const newest = (pairs) => pairs[pairs.length - 1];

function pairRule(pairs) {
  if (!pairs.length || newest(pairs)[1] <= PAIR_MAX) return null;
  return {level: "warn", text: `Different images look alike: their mean cosine is ${number(newest(pairs)[1])}, above ${PAIR_MAX}.`};
}

function rankRule(pairs) {
  const best = Math.max(...pairs.map(([, value]) => value));
  if (pairs.length < 3 || newest(pairs)[1] > best * (1 - RANK_FALL)) return null;
  return {level: "bad", text: `The features lose dimensions: RankMe fell from ${number(best)} to ${number(newest(pairs)[1])}.`};
}

function stdRule(pairs) {
  if (pairs.length < 3) return null;
  const [step, value] = newest(pairs), before = pairs.filter(([at]) => at >= step - 1000).map(([, one]) => one);
  if (value > Math.max(...before) * STD_FALL) return null;
  return {level: "bad", text: `The targets stop varying: their deviation fell to ${number(value)} within 1000 steps.`};
}

function probeRule(pairs) {
  if (pairs.length < 3) return null;
  const [a, b, c] = pairs.slice(-3).map(([, value]) => value);
  return c < b && b < a ? {level: "warn", text: `k-NN accuracy fell at two checks running, to ${number(c)}.`} : null;
}

/* data: Map key -> {step, last}. Returns {level: good, warn, bad, idle; rules: what fired}. */
export function verdict(data) {
  const pick = (key) => known(data.get(key));
  const any = ["ssl/rankme", "ssl/target_std", "ssl/pair_cos"].some((key) => pick(key).length);
  if (!any) return {level: "idle", rules: []};
  const rules = [rankRule(pick("ssl/rankme")), stdRule(pick("ssl/target_std")), pairRule(pick("ssl/pair_cos")),
    probeRule(pick("ssl/probe/knn_top1"))].filter(Boolean);
  const broken = [...data].filter(([, one]) => one.nonfinite > 0).map(([key, one]) => ({level: "bad", text: `${key}: ${one.nonfinite} values are not finite.`}));
  const all = [...broken, ...rules];
  return {level: all.some((rule) => rule.level === "bad") ? "bad" : all.length ? "warn" : "good", rules: all};
}

const WORDS = {good: ["check", "healthy"], warn: ["alert", "watch"], bad: ["cross", "collapsing"], idle: ["wait", "no figures yet"]};

const LEVELS = {healthy: "good", watch: "warn", collapsing: "bad"};

/* The daemon's verdict, which is kept with the run; null before the first check. */
export function toldVerdict(run) {
  const level = LEVELS[run.health?.verdict];
  return level ? {level, rules: run.health.text ? [{level, text: `${run.health.text} (${run.health.rule}, since step ${run.health.since_step})`}] : []} : null;
}

export function verdictChip(level) {
  const [name, word] = WORDS[level];
  return make("span", {class: `chip ${level}`}, sign(name), word);
}

/* From the newest figures alone, for lists; nothing where there is nothing to say. */
export function healthLight(run) {
  const told = LEVELS[run.health?.verdict];
  if (told) return make("span", {class: `health ${told}`, title: run.health.text || "the figures look well"}, sign(WORDS[told][0]), WORDS[told][1]);
  const last = run.last || {}, cosine = last["ssl/pair_cos"];
  if (run.kind !== "pretrain" || cosine === undefined || cosine === null) return null;
  const level = "train/loss" in last && last["train/loss"] === null ? "bad" : cosine > PAIR_MAX ? "warn" : "good";
  const text = level === "bad" ? "the loss is not finite" : level === "warn" ? `images look alike: cosine ${number(cosine)}` : "figures look well";
  const [name, word] = level === "bad" ? ["cross", "not finite"] : WORDS[level];
  return make("span", {class: `health ${level}`, title: text}, sign(name), word);
}
