// SPDX-License-Identifier: Apache-2.0
// Draws the dashboards from what a real Prometheus answered to their expressions: see tests/grafana/draw.
//   node draw.mjs DASHBOARD.json ANSWERS.json > PICTURE.svg
import { readFileSync } from 'node:fs';
import { panelBody } from './draw_panels.mjs';
import { escape } from './draw_format.mjs';

const [dashboardFile, answersFile] = process.argv.slice(2);
const dashboard = JSON.parse(readFileSync(dashboardFile, 'utf8'));
const kept = JSON.parse(readFileSync(answersFile, 'utf8'));
const column = 50, line = 34, gap = 8, head = 52;

const panels = dashboard.panels;
const bottom = Math.max(...panels.map((p) => p.gridPos.y + p.gridPos.h));
const width = 24 * column + gap, height = head + bottom * line + gap;

// Light by default, dark where the reader's system is.
const style = `
  text { font-family: Inter, system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; font-size: 12px; fill: #24292e; }
  .page { fill: #f4f5f5; } .panel { fill: #ffffff; stroke: #e4e7eb; } .title { font-weight: 600; font-size: 13px; }
  .head { font-weight: 700; font-size: 18px; } .soft { fill: #6e7681; } .small { font-size: 11px; } .rule { stroke: #e4e7eb; }
  .track { fill: #eef0f2; } .inkline { stroke: #6e7681; } .onfill { fill: #ffffff; }
  @media (prefers-color-scheme: dark) {
    text { fill: #d8d9da; } .page { fill: #111217; } .panel { fill: #181b1f; stroke: #2c3235; } .soft { fill: #9fa7b3; }
    .rule { stroke: #2c3235; } .track { fill: #24282e; } .inkline { stroke: #9fa7b3; } .onfill { fill: #ffffff; }
  }`;

const parts = [];
for (const panel of panels) {
  const x = panel.gridPos.x * column + gap, y = head + panel.gridPos.y * line;
  const w = panel.gridPos.w * column - gap, h = panel.gridPos.h * line - gap;
  if (panel.type === 'row') {
    parts.push(`<text class="title soft" x="${x + 2}" y="${y + 19}">▾ ${escape(panel.title)}</text>`);
    continue;
  }
  const body = panelBody(panel, kept.answers[panel.title] ?? {}, { x: x + 12, y: y + 34, w: w - 24, h: h - 44 }, kept);
  parts.push(
    `<g><rect class="panel" x="${x}" y="${y}" width="${w}" height="${h}" rx="3"/>` +
      `<text class="title" x="${x + 12}" y="${y + 21}">${escape(panel.title)}</text>${body}</g>`,
  );
}
console.log(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">
<title>${escape(dashboard.title)}</title>
<style>${style}</style>
<rect class="page" width="${width}" height="${height}"/>
<text class="head" x="${gap + 2}" y="33">${escape(dashboard.title)}</text>
${parts.join('\n')}
</svg>`);
