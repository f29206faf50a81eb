// SPDX-License-Identifier: Apache-2.0
// Words, numbers and colours of the pictures.
export const escape = (text) => String(text).replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]);

const named = {
  green: '#56a64b', 'semi-dark-green': '#2f7d4f', 'light-green': '#96d98d', red: '#e02f44', 'dark-red': '#8f1d2c', orange: '#f2761b',
  yellow: '#e0b400', blue: '#3274d9', 'light-blue': '#8ab8ff', purple: '#9c5bd1', text: '#8a929c', transparent: 'none',
};
const palette = ['#3274d9', '#f2761b', '#56a64b', '#9c5bd1', '#e0b400', '#1fa3a3', '#c4468f', '#7a6a53'];
export const colour = (name) => named[name] ?? name;
// A series keeps its colour in all pictures.
const given = new Map();
export function colourOf(key) {
  if (!given.has(key)) given.set(key, palette[given.size % palette.length]);
  return given.get(key);
}

function span(seconds) {
  const s = Math.abs(seconds), sign = seconds < 0 ? '−' : '';
  if (s < 0.00005) return '0 s';
  if (s < 0.1) return `${sign}${Number((s * 1000).toPrecision(2))} ms`;
  if (s < 60) return `${sign}${Number(s.toFixed(s < 10 ? 2 : 1))} s`;
  const [d, h, m] = [Math.floor(s / 86400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60];
  if (d) return `${sign}${d}d ${h}h`;
  const rest = Math.round(s % 60);
  if (h) return `${sign}${h}h${m ? ` ${m}m` : ''}`;
  return `${sign}${m}m${rest ? ` ${rest}s` : ''}`;
}

export function format(value, unit) {
  if (unit === 's' || unit === 'dtdurations') return span(value);
  if (unit === 'percentunit') return `${Math.round(value * 100)} %`;
  if (unit === 'dateTimeAsIso') return new Date(value).toISOString().slice(11, 23);
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
}

export function labelsOf(key) {
  return Object.fromEntries(key === '' ? [] : key.split(',').map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]));
}

export function nameOf(target, key) {
  const labels = labelsOf(key);
  return (target.legendFormat || Object.values(labels).join(' ')).replace(/{{(\w+)}}/g, (_, name) => labels[name] ?? '');
}

export function thresholdColour(value, thresholds) {
  let found = 'text';
  for (const step of thresholds.steps) if (step.value === null || value >= step.value) found = step.color;
  return colour(found);
}

export function override(panel, id, options) {
  const properties = {};
  for (const one of panel.fieldConfig.overrides) {
    if (one.matcher.id === id && one.matcher.options === options) for (const p of one.properties) properties[p.id] = p.value;
  }
  return properties;
}

// Ticks at round steps, from zero on.
export function ticks(most, unit) {
  const steps = unit === 's' ? [0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600] : [0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10, 20, 50, 100];
  const step = steps.find((s) => most / s <= 6) ?? most / 5;
  const all = [];
  for (let v = 0; v <= most + step * 0.001; v += step) all.push(v);
  return all;
}
