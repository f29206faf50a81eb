// SPDX-License-Identifier: Apache-2.0
// One function a kind of panel. Each draws into `box` what Prometheus answered.
import { colour, colourOf, escape, format, labelsOf, nameOf, override, thresholdColour, ticks } from './draw_format.mjs';

const text = (x, y, what, kind = '', anchor = 'start', more = '') => `<text class="${kind}" x="${x}" y="${y}" text-anchor="${anchor}" ${more}>${escape(what)}</text>`;
const cut = (what, room) => (what.length > room ? what.slice(0, room - 1) + '…' : what);
const last = (samples) => samples[samples.length - 1][1];

function allSeries(panel, answers) {
  return panel.targets.flatMap((target) =>
    Object.entries(answers[target.refId] ?? {}).map(([key, samples]) => {
      const name = nameOf(target, key);
      const fixed = override(panel, 'byName', name).color ?? override(panel, 'byFrameRefID', target.refId).color;
      return { target, key, name, samples, colour: fixed ? colour(fixed.fixedColor) : colourOf(labelsOf(key).experiment ?? labelsOf(key).host ?? name), props: override(panel, 'byFrameRefID', target.refId) };
    }),
  );
}

function legend(entries, box) {
  let x = box.x, y = box.y + box.h - 2, out = '';
  const rows = [[]];
  for (const e of entries) {
    const w = 24 + e.name.length * 6.3;
    if (x + w > box.x + box.w && rows[rows.length - 1].length) { rows.push([]); x = box.x; }
    rows[rows.length - 1].push({ ...e, x });
    x += w;
  }
  rows.forEach((row, i) => {
    const at = y - (rows.length - 1 - i) * 17;
    for (const e of row) {
      const dash = e.props?.['custom.lineStyle'];
      out += dash ? `<line x1="${e.x}" x2="${e.x + 14}" y1="${at - 4}" y2="${at - 4}" stroke="${e.colour}" stroke-width="2" stroke-dasharray="4 3"/>` : `<circle cx="${e.x + 6}" cy="${at - 4}" r="5" fill="${e.colour}"/>`;
      out += text(e.x + 18, at, e.name, 'small soft');
    }
  });
  return { out, h: rows.length * 17 + 6 };
}

function stat(panel, answers, box) {
  const series = allSeries(panel, answers);
  const d = panel.fieldConfig.defaults;
  const fill = (v) => (d.color.mode === 'fixed' ? colour(d.color.fixedColor) : thresholdColour(v, d.thresholds));
  const shown = !series.length ? d.noValue ?? 'no data' : panel.options.textMode === 'name' ? series[0].name : format(last(series[0].samples), d.unit);
  const size = shown.length > 14 ? 24 : 36;
  const tone = fill(series.length ? last(series[0].samples) : 0);
  return `<text x="${box.x + box.w / 2}" y="${box.y + box.h / 2 + size / 3}" text-anchor="middle" style="font-size:${size}px;font-weight:600;fill:${tone}">${escape(shown)}</text>`;
}

function timeAxis(view, box) {
  const length = view.to - view.from;
  const step = [5, 10, 15, 30, 60, 300, 3600, 6 * 3600, 86400, 7 * 86400, 14 * 86400].find((s) => length / s <= 8) ?? length / 6;
  let out = '';
  for (let t = Math.ceil(view.from / step) * step; t < view.to; t += step) {
    const iso = new Date(t * 1000).toISOString();
    const x = box.x + ((t - view.from) / length) * box.w;
    out += `<line class="rule" x1="${x}" x2="${x}" y1="${box.y}" y2="${box.y + box.h}"/>` + text(x, box.y + box.h + 15, step >= 86400 ? iso.slice(5, 10) : iso.slice(11, 19), 'small soft', 'middle');
  }
  return out;
}

function seen(view, series) {
  const times = series.flatMap((s) => s.samples.map(([t]) => t));
  return view.short ? { from: Math.min(...times), to: Math.max(...times) } : view;
}

function timeseries(panel, answers, whole, kept) {
  const series = allSeries(panel, answers).filter((s) => s.samples.length);
  if (!series.length) return text(whole.x, whole.y + 20, 'no data', 'soft');
  const names = legend(series, whole);
  const unit = panel.fieldConfig.defaults.unit;
  const box = { x: whole.x + 52, y: whole.y, w: whole.w - 56, h: whole.h - names.h - 22 };
  const view = seen(kept, series);
  const stacked = panel.fieldConfig.defaults.custom.stacking?.mode === 'normal';
  const values = series.flatMap((s) => s.samples.map(([, v]) => v));
  const low = Math.min(0, ...values);
  const most = (stacked ? series.reduce((sum, s) => sum + Math.max(...s.samples.map(([, v]) => v)), 0) : Math.max(...values, 1e-9)) * 1.08;
  const X = (t) => box.x + ((t - view.from) / (view.to - view.from || 1)) * box.w;
  const Y = (v) => box.y + box.h - ((v - low) / (most - low)) * box.h;
  let out = timeAxis(view, box);
  const marks = low < 0 ? [low, 0, most] : ticks(most, unit);
  for (const v of marks) out += `<line class="rule" x1="${box.x}" x2="${box.x + box.w}" y1="${Y(v)}" y2="${Y(v)}"/>` + text(box.x - 8, Y(v) + 4, format(Number(v.toPrecision(3)), unit), 'small soft', 'end');
  const base = new Map();
  for (const s of series) {
    const dots = (s.props['custom.drawStyle'] ?? panel.fieldConfig.defaults.custom.drawStyle) === 'points';
    const dash = s.props['custom.lineStyle'] ? 'stroke-dasharray="6 5" opacity="0.7"' : '';
    const raised = s.samples.map(([t, v]) => { const b = stacked ? base.get(t) ?? 0 : 0; base.set(t, b + v); return [t, v + b, b]; });
    if (dots) {
      const r = (s.props['custom.pointSize'] ?? panel.fieldConfig.defaults.custom.pointSize) / 2;
      for (const [t, v] of raised) {
        const hollow = s.target.refId === 'B';
        out += `<circle cx="${X(t).toFixed(1)}" cy="${Y(v).toFixed(1)}" r="${r}" fill="${hollow ? 'none' : s.colour}" ${hollow ? `stroke="${s.colour}" stroke-width="2"` : 'fill-opacity="0.9"'}/>`;
      }
      continue;
    }
    if (stacked) out += `<path d="M${raised.map(([t, v]) => `${X(t).toFixed(1)} ${Y(v).toFixed(1)}`).join('L')}L${raised.slice().reverse().map(([t, , b]) => `${X(t).toFixed(1)} ${Y(b).toFixed(1)}`).join('L')}Z" fill="${s.colour}" fill-opacity="0.25"/>`;
    out += `<path d="M${raised.map(([t, v]) => `${X(t).toFixed(1)} ${Y(v).toFixed(1)}`).join('L')}" fill="none" stroke="${s.colour}" stroke-width="${s.props['custom.lineWidth'] ?? panel.fieldConfig.defaults.custom.lineWidth ?? 1.5}" ${dash}/>`;
  }
  return out + names.out;
}

function stateTimeline(panel, answers, whole, kept) {
  const series = allSeries(panel, answers).filter((s) => s.samples.length);
  const left = 8 + Math.max(...series.map((s) => s.name.length), 5) * 6.6;
  const box = { x: whole.x + left, y: whole.y, w: whole.w - left - 4, h: whole.h - 22 };
  const view = kept.drill ?? kept;
  const mapping = panel.fieldConfig.defaults.mappings[0].options;
  const high = Math.min(46, box.h / series.length);
  let out = timeAxis(view, box);
  series.forEach((s, i) => {
    const y = box.y + i * high + (box.h - high * series.length) / 2;
    out += text(box.x - 8, y + high / 2 + 4, s.name, '', 'end');
    for (let a = 0; a < s.samples.length; ) {
      let b = a;
      while (b + 1 < s.samples.length && s.samples[b + 1][1] === s.samples[a][1]) ++b;
      const [from, to] = [s.samples[a][0], Math.min(view.to, s.samples[b][0] + 1)];
      const X = (t) => box.x + ((t - view.from) / (view.to - view.from)) * box.w;
      const state = mapping[s.samples[a][1]];
      if (state && state.color !== 'transparent') {
        out += `<rect x="${X(from)}" y="${y + 4}" width="${Math.max(2, X(to) - X(from))}" height="${high - 8}" fill="${colour(state.color)}" fill-opacity="0.85"/>`;
        if (X(to) - X(from) > state.text.length * 7 + 8) out += text((X(from) + X(to)) / 2, y + high / 2 + 4, state.text, 'onfill', 'middle');
      }
      a = b + 1;
    }
  });
  return out;
}

function bargauge(panel, answers, box) {
  let series = allSeries(panel, answers).map((s) => ({ name: s.name, value: last(s.samples) }));
  const unit = panel.fieldConfig.defaults.unit;
  const buckets = panel.targets[0].format === 'heatmap';
  if (buckets) {
    series.sort((a, b) => Number(a.name.replace('+Inf', 'Infinity')) - Number(b.name.replace('+Inf', 'Infinity')));
    let before = 0;
    series = series.map((s) => { const value = s.value - before; before = s.value; return { name: s.name === '+Inf' ? 'longer' : `≤ ${format(Number(s.name), 's')}`, value }; });
  } else series.sort((a, b) => b.value - a.value);
  if (!series.length) return text(box.x, box.y + 20, panel.fieldConfig.defaults.noValue ?? 'no data', 'soft');
  const most = Math.max(...series.map((s) => s.value), 1e-9), top = panel.options.namePlacement === 'top';
  const left = top ? 0 : Math.max(...series.map((s) => s.name.length)) * 6.6 + 8;
  const high = Math.min(top ? 58 : 30, box.h / series.length);
  const tone = panel.fieldConfig.defaults.color;
  let out = '';
  series.forEach((s, i) => {
    const y = box.y + i * high, bar = { x: box.x + left, y: y + (top ? 20 : 4), h: top ? high - 30 : high - 8, w: box.w - left - 58 };
    const share = s.value / most;
    const fill = tone.mode === 'fixed' ? colour(tone.fixedColor) : tone.mode === 'continuous-YlRd' ? `hsl(${48 - 46 * share},85%,${56 - 6 * share}%)` : `hsl(${215 + 60 * share},${55 + 15 * share}%,${70 - 18 * share}%)`;
    out += top ? text(box.x, y + 13, cut(s.name, 38), 'small soft') : text(bar.x - 8, bar.y + bar.h / 2 + 4, s.name, 'small', 'end');
    out += `<rect class="track" x="${bar.x}" y="${bar.y}" width="${bar.w}" height="${bar.h}" rx="2"/><rect x="${bar.x}" y="${bar.y}" width="${(bar.w * share).toFixed(1)}" height="${bar.h}" rx="2" fill="${fill}"/>`;
    out += text(bar.x + bar.w + 8, bar.y + bar.h / 2 + 4, format(s.value, unit));
  });
  return out;
}

function pie(panel, answers, whole) {
  const series = allSeries(panel, answers).map((s) => ({ ...s, value: last(s.samples) })).sort((a, b) => b.value - a.value);
  const sum = series.reduce((all, s) => all + s.value, 0), unit = panel.fieldConfig.defaults.unit;
  const rows = panel.options.legend.displayMode === 'table';
  const names = rows ? { out: '', h: series.length * 18 + 8 } : legend(series, whole);
  const r = Math.min((whole.h - names.h) / 2 - 4, whole.w / 2 - 10), cx = whole.x + whole.w / 2, cy = whole.y + r + 2;
  const hole = panel.options.pieType === 'donut' ? r * 0.58 : 0;
  let angle = -Math.PI / 2, out = names.out;
  for (const s of series) {
    const to = angle + (s.value / sum) * 2 * Math.PI * 0.99999, big = to - angle > Math.PI ? 1 : 0;
    const P = (a, q) => `${(cx + q * Math.cos(a)).toFixed(1)} ${(cy + q * Math.sin(a)).toFixed(1)}`;
    out += `<path d="M${P(angle, r)}A${r} ${r} 0 ${big} 1 ${P(to, r)}L${P(to, hole)}A${hole} ${hole} 0 ${big} 0 ${P(angle, hole)}Z" fill="${s.colour}" class="slice"/>`;
    if (s.value / sum > 0.06) {
      const m = (angle + to) / 2, q = hole ? (r + hole) / 2 : r * 0.66;
      out += text(cx + q * Math.cos(m), cy + q * Math.sin(m) + 4, unit === 'percentunit' ? `${Math.round((s.value / sum) * 100)} %` : format(s.value, unit), 'onfill', 'middle', 'font-weight="600"');
    }
    angle = to;
  }
  if (!rows) return out;
  series.forEach((s, i) => {
    const y = whole.y + whole.h - names.h + 18 + i * 18;
    out += `<circle cx="${whole.x + 8}" cy="${y - 4}" r="5" fill="${s.colour}"/>` + text(whole.x + 20, y, s.name.replaceAll('_', ' '), 'small') + text(whole.x + whole.w - 56, y, format(s.value, unit), 'small', 'end') + text(whole.x + whole.w - 6, y, `${Math.round((s.value / sum) * 100)} %`, 'small soft', 'end');
  });
  return out;
}

function barchart(panel, answers, whole) {
  const organize = panel.transformations.find((t) => t.id === 'organize').options.indexByName;
  const rows = new Map();
  for (const s of allSeries(panel, answers)) {
    const { experiment, stage } = labelsOf(s.key);
    if (!rows.has(experiment)) rows.set(experiment, new Map());
    rows.get(experiment).set(stage, last(s.samples));
  }
  const stages = Object.keys(organize).filter((k) => !k.includes('\\')).filter((k) => [...rows.values()].some((r) => r.has(k)));
  const tone = (stage) => colour(override(panel, 'byName', stage).color.fixedColor);
  const names = legend(stages.map((stage) => ({ name: stage, colour: tone(stage) })), whole);
  const left = Math.max(...[...rows.keys()].map((k) => k.length)) * 7 + 10;
  const box = { x: whole.x + left, y: whole.y, w: whole.w - left - 64, h: whole.h - names.h - 22 };
  const sums = [...rows.values()].map((r) => [...r.values()].reduce((a, b) => a + b, 0));
  const most = Math.max(...sums), high = box.h / rows.size;
  let out = '';
  for (const v of ticks(most, 's')) {
    const x = box.x + (v / most) * box.w;
    out += `<line class="rule" x1="${x}" x2="${x}" y1="${box.y}" y2="${box.y + box.h}"/>` + text(x, box.y + box.h + 15, format(v, 's'), 'small soft', 'middle');
  }
  [...rows].forEach(([experiment, values], i) => {
    let x = box.x;
    const y = box.y + i * high + high * 0.18;
    out += text(box.x - 10, y + high * 0.32 + 4, experiment, '', 'end');
    for (const stage of stages) {
      const w = ((values.get(stage) ?? 0) / most) * box.w;
      out += `<rect x="${x.toFixed(1)}" y="${y}" width="${w.toFixed(1)}" height="${high * 0.64}" fill="${tone(stage)}"/>`;
      if (w > 44) out += text(x + w / 2, y + high * 0.32 + 4, format(values.get(stage), 's'), 'onfill small', 'middle');
      x += w;
    }
    out += text(x + 8, y + high * 0.32 + 4, format(sums[i], 's'), 'soft');
  });
  return out + names.out;
}

// What Grafana's transformations merge and organize make of the answers.
function tableOf(panel, answers) {
  const organize = panel.transformations.find((t) => t.id === 'organize').options;
  const frames = panel.targets.map((t) => Object.entries(answers[t.refId] ?? {}).map(([key, samples]) => ({ ref: t.refId, labels: labelsOf(key), value: last(samples) })));
  const sets = frames.filter((f) => f.length).map((f) => Object.keys(f[0].labels));
  const keys = sets.length ? sets[0].filter((k) => sets.every((s) => s.includes(k))) : [];
  const rows = new Map(), columns = new Set(Object.keys(organize.indexByName));
  for (const entry of frames.flat()) {
    const id = keys.map((k) => entry.labels[k]).join(',');
    if (!rows.has(id)) rows.set(id, {});
    const field = panel.targets.length > 1 ? `Value #${entry.ref}` : 'Value';
    Object.assign(rows.get(id), entry.labels, { [field]: entry.value });
    [...Object.keys(entry.labels), field].forEach((f) => columns.add(f));
  }
  const order = [...columns].filter((c) => !organize.excludeByName[c] && [...rows.values()].some((r) => c in r));
  order.sort((a, b) => (organize.indexByName[a] ?? 50) - (organize.indexByName[b] ?? 50));
  return { rows: [...rows.values()], columns: order.map((field) => ({ field, name: organize.renameByName[field] ?? field })) };
}

function table(panel, answers, box) {
  const { rows, columns } = tableOf(panel, answers);
  const sort = panel.options.sortBy?.[0];
  const by = sort && columns.find((c) => c.name === sort.displayName)?.field;
  if (by) rows.sort((a, b) => ((a[by] ?? Infinity) - (b[by] ?? Infinity)) * (sort.desc ? -1 : 1));
  if (!rows.length) return text(box.x, box.y + 20, panel.fieldConfig.defaults.noValue ?? 'no data', 'soft');
  const d = panel.fieldConfig.defaults;
  const cell = (row, c) => {
    const v = row[c.field];
    if (v === undefined) return '';
    if (typeof v !== 'number') return String(v).replaceAll('_', ' ');
    const props = override(panel, 'byName', c.name);
    return props.mappings?.[0].options[v]?.text ?? format(v, props.unit ?? d.unit);
  };
  const widths = columns.map((c) => Math.max(c.name.length * 1.08, ...rows.map((r) => cell(r, c).length)) + 2.2);
  const unit = box.w / widths.reduce((a, b) => a + b, 0);
  const high = Math.min(30, (box.h - 26) / rows.length);
  let out = `<line class="rule" x1="${box.x}" x2="${box.x + box.w}" y1="${box.y + 22}" y2="${box.y + 22}"/>`, x = box.x;
  columns.forEach((c, i) => {
    const number = rows.some((r) => typeof r[c.field] === 'number');
    const at = number ? x + widths[i] * unit - 8 : x, side = number ? 'end' : 'start';
    out += text(at, box.y + 14, c.name, 'small soft', side, 'font-weight="600"');
    rows.forEach((r, j) => {
      const props = override(panel, 'byName', c.name), v = r[c.field];
      const tone = props['custom.cellOptions']?.type === 'color-text' && v !== undefined ? (props.mappings ? colour(props.mappings[0].options[v].color) : thresholdColour(v, props.thresholds)) : null;
      out += text(at, box.y + 24 + (j + 0.62) * high, cell(r, c), 'small', side, tone ? `style="fill:${tone};font-weight:600"` : '');
    });
    x += widths[i] * unit;
  });
  return out;
}

const kinds = { stat, timeseries, 'state-timeline': stateTimeline, bargauge, piechart: pie, barchart, table };
export const panelBody = (panel, answers, box, kept) => kinds[panel.type](panel, answers, box, kept);
