// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/commands/history_commands.h"

#include "controller/cli/commands/runners.h"

namespace firedrill::cli {

std::vector<Command> HistoryCommands() {
  return {
      {"trend",
       "Show detection and recovery over many runs",
       "[EXPERIMENT]",
       "Each run is a point. Rate, median and p90 have 95 % intervals; a run in which the alert\n"
       "did not fire counts as longer than it was watched, not as nothing. Aborted runs are shown\n"
       "but not counted, nor are those whose alert fired already or whose data were missing.",
       {{"fault", "KIND", "runs with a step of this kind only", 0, false, FaultNames()},
        {"since", "TIME", "runs of so long ago at most: 90d, 12w, 36h (default: all)"},
        {"until", "TIME", "runs of so long ago at least: 30d (default: all)"},
        {"limit", "NUMBER", "so many runs, the newest (default 1000, at most 10000)"}},
       {{"trend cache-loss", "how reliably and how fast it is detected, run by run"},
        {"trend --fault packet_loss --since 90d", "one kind of fault, whatever the experiment"},
        {"trend cache-loss --since 90d --until 30d", "before the rule was changed a month ago"},
        {"trend cache-loss -o json", "points, estimate and curve for a script"}},
       0,
       1,
       RunTrend},
      {"compare",
       "Put two runs side by side: measures, stages, outcomes, what differed",
       "RUN RUN",
       "A difference is beyond both ± and a scrape or it is not; of a censored time a bound is "
       "known.\n"
       "What differed is looked for in the experiment, the alerts' rules and their routes.",
       {},
       {{"compare 20261101-0900 20261122-1705", "did the change of the rule make it faster?"},
        {"compare 20261101-0900 20261122-1705 -o json", "for a script"}},
       2,
       2,
       RunCompare},
      {"measure",
       "Compute a finished run's figures again from the evidence that is stored with it",
       "RUN",
       "Marks, outcomes, measures, stages and advice, from the run's raw samples and notifications "
       "alone;\n"
       "nothing is asked of Prometheus and nothing is changed. Done by this program: one of "
       "another\n"
       "version than the controller's may read the same evidence otherwise. Exit code 0: all is as "
       "it is\nstored; 1: something differs, and is listed; 6: the run holds no evidence.",
       {},
       {{"measure 20261122-1705", "is the report what the samples say?"},
        {"measure 20261122-1705 -o json", "stored and computed values for a script"}},
       1,
       1,
       RunMeasure},
      {"replay",
       "Replay an alert's rule over Prometheus' past with another `for`",
       "RUN",
       "What it would have gained in that run, and how often it would have fired over the past.\n"
       "The rule and its intervals are those of the run. Reads Prometheus only; may take a minute.",
       {{"alert", "NAME", "one of the run's alerts (default: the first that was expected to fire)"},
        {"for", "TIME", "try this `for`; repeated (default: 0s, a quarter and half of what it is)",
         0, true},
        {"look-back", "TIME", "so much of the past (default 7d, at most 31d)"}},
       {{"replay 20261122-1705", "would a shorter `for` be worth it?"},
        {"replay 20261122-1705 --alert ShopSlow --for 30s --for 1m --look-back 14d",
         "two candidates over two weeks"}},
       1,
       1,
       RunReplay},
  };
}

}  // namespace firedrill::cli
