// SPDX-License-Identifier: Apache-2.0
// Grafana's own published types, put together for what tests/grafana/types writes next to this file: one
// `const NAME: DashboardJson = …` a dashboard. Excess properties, misspelt enum values and missing members do not compile.
import type * as g from '@grafana/schema';
import type * as bar from '@grafana/schema/dist/esm/raw/composable/barchart/panelcfg/x/BarChartPanelCfg_types.gen';
import type * as gauge from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type * as pie from '@grafana/schema/dist/esm/raw/composable/piechart/panelcfg/x/PieChartPanelCfg_types.gen';
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as state from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import type * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as time from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

// A value of this type as JSON spells it: a string enum by its values, which TypeScript would not take for the enum.
type Json<T> = unknown extends T
  ? T
  : T extends string
    ? `${T}`
    : T extends number | boolean | null | undefined
      ? T
      : T extends Array<infer U>
        ? Array<Json<U>>
        : { [K in keyof T]: Json<T[K]> };

// Later versions do not publish the Prometheus query any more; this is that of 10.4, which they still read.
type Query = g.DataQuery & {
  expr: string;
  editorMode?: 'builder' | 'code';
  format?: 'time_series' | 'table' | 'heatmap';
  instant?: boolean;
  range?: boolean;
  legendFormat?: string;
};

// The types of a panel's plugin for its options and for fieldConfig.defaults.custom, which Panel itself leaves open.
// Options have defaults, so each may be left out.
type PanelOf<Type extends string, Options, Custom> = Omit<g.Panel, 'type' | 'options' | 'targets' | 'fieldConfig'> & {
  type: Type;
  options: Partial<Options>;
  targets: Query[];
  fieldConfig: { defaults: Omit<g.FieldConfig, 'custom'> & { custom?: Custom }; overrides: g.FieldConfigSource['overrides'] };
};
type Panel =
  | PanelOf<'barchart', bar.Options, bar.FieldConfig>
  | PanelOf<'bargauge', gauge.Options, never>
  | PanelOf<'piechart', pie.Options, pie.FieldConfig>
  | PanelOf<'stat', stat.Options, never>
  | PanelOf<'state-timeline', state.Options, state.FieldConfig>
  | PanelOf<'table', table.Options, table.FieldConfig>
  | PanelOf<'timeseries', time.Options, time.FieldConfig>;

// What the Prometheus data source adds to an annotation is in no published type. Its source (annotations.ts in
// packages/grafana-prometheus) reads these.
type MetricAnnotation = g.AnnotationQuery<Query & { interval?: string }> & {
  expr: string;
  step?: string;
  titleFormat?: string;
  textFormat?: string;
  tagKeys?: string;
  useValueForTime?: boolean;
};
type StoredAnnotation = Omit<g.AnnotationQuery, 'target'> & { target?: g.AnnotationTarget & { refId?: string } };
// `definition` is the text of a query variable that its editor shows.
type Variable = g.VariableModel & { definition?: string };

export type DashboardJson = Json<
  Omit<g.Dashboard, 'panels' | 'annotations' | 'templating'> & {
    panels: Array<Panel | (Omit<g.RowPanel, 'panels'> & { panels: Panel[] })>;
    annotations: { list: Array<MetricAnnotation | StoredAnnotation> };
    templating: { list: Variable[] };
  }
>;
