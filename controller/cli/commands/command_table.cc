// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "controller/cli/commands/command.h"
#include "controller/cli/commands/completion.h"
#include "controller/cli/commands/history_commands.h"
#include "controller/cli/commands/runners.h"
#include "controller/cli/commands/settings.h"
#include "controller/cli/commands/target_flags.h"
#include "proto/support/version.h"

namespace firedrill::cli {
namespace {

using Words = std::vector<std::string>;

ExitCode RunVersion(Invocation& invocation) {
  const v1::ProtocolVersion protocol = OwnProtocolVersion();
  if (invocation.settings.format == Format::kTable) {
    invocation.context.out << fmt::format("firedrill {} (protocol {}.{})\n", SoftwareVersion(),
                                          protocol.major(), protocol.minor());
    return ExitCode::kPassed;
  }
  const nlohmann::ordered_json version = {
      {"software_version", SoftwareVersion()},
      {"version", {{"major", protocol.major()}, {"minor", protocol.minor()}}}};
  invocation.context.out << SerializeJson(version.dump(), invocation.settings.format);
  return ExitCode::kPassed;
}

ExitCode RunCompletion(Invocation& invocation) {
  const absl::StatusOr<std::string> script = CompletionScript(invocation.arguments.words[0]);
  if (!script.ok()) return invocation.FailUsage(std::string(script.status().message()));
  invocation.context.out << *script;
  return ExitCode::kPassed;
}

Words Files(const Words& /*words*/) { return {":files"}; }
Words KindOnce(const Words& words) { return words.empty() ? FaultNames() : Words(); }

Words GetWords(const Words& words) {
  return words.empty() ? Words{"runs", "run", "agents", "experiments", "faults"} : Words();
}

Words DescribeWords(const Words& words) {
  if (words.empty()) return {"fault", "run", "agent", "experiment"};
  return words.size() == 1 && words[0] == "fault" ? FaultNames() : Words();
}

Words CaWords(const Words& words) {
  if (words.empty()) return {"init", "issue"};
  return words.size() == 1 && words[0] == "issue" ? Words{"controller", "agent", "operator"}
                                                  : Words();
}

Words Shells(const Words& words) { return words.empty() ? Words{"bash", "zsh", "fish"} : Words(); }

const Option kDetach{"detach", "", "start it and return at once; the run goes on at the controller",
                     'd'};

std::vector<Option> With(std::vector<Option> options, const std::vector<Option>& more) {
  options.insert(options.end(), more.begin(), more.end());
  return options;
}

std::vector<Command> MakeCommands() {
  constexpr std::size_t kMany = 1000;
  return {
      {"validate",
       "Check experiments without a controller; report every mistake with its place",
       "FILE…",
       "Reads each file (- for standard input) and prints file:line:column: field: what was "
       "found;\nwhat is allowed. Nothing is sent anywhere.",
       {},
       {{"validate experiments/*.yaml", "check all of them; exit code 2 if one is bad"},
        {"validate -o json shop.yaml", "the same for an editor or a pipeline"}},
       1,
       kMany,
       RunValidate,
       nullptr,
       Files},
      {"plan",
       "Show what a run would do now: hosts, faults, guards; changes nothing",
       "FILE",
       "",
       {},
       {{"plan shop.yaml", "which hosts would be hit, when, and what their peers would feel"}},
       1,
       1,
       RunPlan,
       nullptr,
       Files},
      {"run",
       "Run an experiment and follow it to its verdict",
       "FILE | --applied NAME",
       "On a terminal the timeline is live: a says acknowledged, m mitigated (it asks for a note), "
       "and\n"
       "Ctrl-C asks whether to abort or to detach; a second one aborts. Elsewhere each event is a "
       "line,\n"
       "and SIGINT or SIGTERM aborts. If the terminal goes away, the run goes on. If the "
       "controller\n"
       "restarts, so does the watching. The exit code is the verdict.",
       {kDetach,
        {"applied", "NAME", "run an experiment that the controller has, instead of a file"}},
       {{"run shop.yaml", "follow it live"},
        {"run -o json shop.yaml > run.json",
         "progress on the error stream, the finished run as JSON"},
        {"run --detach --applied cache-loss", "start an applied experiment and return"}},
       0,
       1,
       RunRun,
       nullptr,
       Files},
      {"inject",
       "Inject one fault without a file",
       "KIND [PARAMETERS] --target LABEL=VALUE [--duration TIME]",
       "KIND is one of `firedrill get faults`; its parameters are options (firedrill help inject "
       "KIND).\n"
       "The same rules hold as for a file. One host is chosen unless --target-pick says more.\n"
       "Fields of traffic and of processes are options by their own names (--port, --name); those "
       "of other\n"
       "parts have the part's name in front (--exclude-port, --owner-name, --restart-port, "
       "--traffic-host).",
       With(TargetOptions(), {{"duration", "TIME",
                               "how long the fault lives: 30s, 5m; needed unless the fault is over "
                               "at once (process_kill, reboot)"},
                              {"environment", "NAME",
                               "must be what the agents declare (default: what they declare, "
                               "unless it is production)"},
                              {"longest", "TIME", "allow a duration over 15m, up to this"},
                              {"print", "", "print it as an experiment's file, and inject nothing"},
                              kDetach}),
       {{"inject packet_loss --percent 10 --target role=cache --duration 30s",
         "lose a tenth of the packets of one cache"},
        {"inject latency --delay 50ms --jitter 10ms --port 5432 --protocol tcp -t role=db "
         "--duration 2m",
         "slow the database's own port down"},
        {"inject cpu --percent 80 --mode fill --host web1 --duration 1m",
         "fill the processors of web1 up to 80 %"},
        {"inject process_kill --name redis-server --target role=cache", "kill one process, once"},
        {"inject partition --from role=database -t role=web --target-pick all --duration 1m",
         "cut every web host off from all databases"},
        {"inject memory --bytes 512MiB -t role=web --duration 1m", "take half a GiB away"},
        {"inject packet_loss --percent 5 -t role=web --duration 1m --environment staging --print > "
         "web.yaml",
         "begin a file"}},
       1,
       1,
       RunInject,
       InjectOptions,
       KindOnce},
      {"preview",
       "Count what a fault would touch on a host, and touch nothing",
       "KIND [PARAMETERS] --target LABEL=VALUE [--for TIME]",
       "Packets and bytes that match: packet_loss, latency, packet_duplicate, packet_corrupt,\n"
       "packet_reorder, bandwidth, partition, dns. Processes that match now: process_kill,\n"
       "process_pause, service_stop, descriptors, file_fault, connection_error. No other kind has "
       "such a\n"
       "choice. Parameters that only say how much is done may be left out. No run is recorded, and "
       "no\n"
       "permission of the host's owner is needed. Exit code 0: something matched; 6: nothing did, "
       "or a host\ncould not say.",
       With(TargetOptions(), {{"for", "TIME", "how long to count (default 5s, at most 5m)"}}),
       {{"preview packet_loss --port 6379 --target role=cache --for 5s",
         "how many packets a fault on port 6379 would meet"},
        {"preview latency --owner-systemd-unit shop.service -t role=web --target-pick all",
         "the packets of one service, on every web host"},
        {"preview process_kill --command-line 'worker --queue=mail' --host web1",
         "which processes a pattern matches, before it is used"},
        {"preview partition --from role=database -t role=web -o json", "for a script"}},
       1,
       1,
       RunPreview,
       InjectOptions,
       KindOnce},
      {"apply",
       "Store experiments at the controller; those with a schedule then run by themselves",
       "FILE…",
       "An experiment of the same name is replaced.",
       {},
       {{"apply experiments/*.yaml", "store or replace all of them"}},
       1,
       kMany,
       RunApply,
       nullptr,
       Files},
      {"delete",
       "Remove stored experiments; their past runs stay",
       "NAME…",
       "",
       {},
       {{"delete cache-loss", "no longer run by its schedule"}},
       1,
       kMany,
       RunDelete},
      {"abort",
       "End a run and all its faults",
       "RUN",
       "RUN may be the beginning of an id, if it names one run only.",
       {{"reason", "TEXT", "why, for the report"}},
       {{"abort 20261122-1705", "end it"},
        {"abort 20261122-1705 --reason 'customers are hit'", "end it and say why"}},
       1,
       1,
       RunAbort},
      {"ack",
       "Say that somebody has taken notice of the alert",
       "[RUN]",
       "For a drill's team, where no pager tells it (docs/operating.md). RUN may be left out when "
       "one run is\n"
       "under way. The instant is the arrival at the controller. The first one counts for the time "
       "to\nacknowledge; later ones stay on the timeline. Not before the fault's first impact.",
       {{"note", "TEXT", "what was seen; for the report"},
        {"by", "NAME", "who it was, if you tell it for somebody else (default: you)"}},
       {{"ack", "the alert of the run that is under way has reached you"},
        {"ack --note 'page came, looking'", "and what you make of it"},
        {"ack 20261122-1705 --by bob", "of one run, for somebody else"}},
       0,
       1,
       RunAck},
      {"mitigated",
       "Say that somebody has done something against the fault's effect",
       "[RUN] --note TEXT",
       "As ack, for the time to mitigate. An indicator that is well again after that has recovered "
       "\"after a\nresponder acted\": preceded by, not caused by.",
       {{"note", "TEXT", "what was done; for the report; needed"},
        {"by", "NAME", "who did it, if you tell it for somebody else (default: you)"}},
       {{"mitigated --note 'moved the traffic to cache2'", "of the run that is under way"},
        {"mitigated 20261122-1705 --note 'restarted redis' --by bob",
         "of one run, for somebody else"}},
       0,
       1,
       RunMitigated},
      {"halt",
       "Emergency stop: end every fault on every host and abort every run",
       "",
       "Asks nothing. Without a controller, stopping an agent ends its faults too.",
       {{"reason", "TEXT", "why, for the reports"}},
       {{"halt", "stop everything, now"}},
       0,
       0,
       RunHalt},
      {"get",
       "List runs, agents, experiments or faults; show one run",
       "runs | run RUN | agents | experiments | faults",
       "",
       {{"experiment", "NAME", "runs of this experiment only"},
        {"limit", "NUMBER", "so many runs, newest first (default 20, at most 1000)"}},
       {{"get runs", "the newest runs with their verdicts and times"},
        {"get runs --experiment cache-loss --limit 100 -o json", "for a script"},
        {"get run 20261122-1705", "one run with its timeline"},
        {"get agents", "which hosts are there, and what state they are in"},
        {"get experiments", "what is applied, and when it runs next"},
        {"get faults", "what can be injected, and on how many agents it works"}},
       1,
       2,
       RunGet,
       nullptr,
       GetWords},
      {"describe",
       "Explain a fault, a run, an agent, an experiment or the experiment's file",
       "fault KIND | run RUN | agent ID | experiment [NAME]",
       "",
       {},
       {{"describe fault packet_loss", "every parameter with unit, limits and default"},
        {"describe experiment", "every field of an experiment's file"},
        {"describe experiment cache-loss", "an applied experiment, as a file"},
        {"describe agent web1", "what a host can do, and why it cannot do the rest"},
        {"describe run 20261122-1705", "timeline, faults, alerts, indicators, verdict"}},
       1,
       2,
       RunDescribe,
       nullptr,
       DescribeWords},
      {"report",
       "Write a run as a page for a ticket or a review",
       "RUN",
       "",
       {{"format",
         "FORMAT",
         "markdown (default), plain or json",
         'f',
         false,
         {"markdown", "plain", "json"}}},
       {{"report 20261122-1705 > run.md",
         "timeline, measures with their uncertainty, verdict with reasons"}},
       1,
       1,
       RunReport},
      {"doctor",
       "Say what this host can do, what is missing and what to do about it",
       "",
       "Asks the firedrill-agent beside this program or in PATH, and the controller if one is "
       "configured.",
       {},
       {{"doctor", "check this host and the connection"},
        {"doctor -o json", "the same for a script"}},
       0,
       0,
       RunDoctor},
      {"ca",
       "Make certificates for a small fleet; needs no controller",
       "init --out DIR | issue controller|agent|operator NAME --ca-dir DIR",
       "init makes an authority: ca.crt, which every host gets, and ca.key, which stays where it "
       "is.\n"
       "issue makes NAME.crt and NAME.key for one program or person. Keys have mode 0600.",
       {{"out", "DIR",
         "where the files go (init: default firedrill-ca; issue: default the authority's)"},
        {"ca-dir", "DIR", "issue: the authority's directory (default firedrill-ca)"},
        {"dns", "NAME", "controller: a name that it is dialled by; repeated", 0, true},
        {"ip", "ADDRESS", "controller: an address that it is dialled at; repeated", 0, true},
        {"days", "NUMBER", "how long it is good (init: default 1825; issue: default 365)"},
        {"force", "", "replace files that exist"}},
       {{"ca init --out firedrill-ca", "once"},
        {"ca issue controller main --dns chaos.example.org --ip 192.0.2.10", "for the controller"},
        {"ca issue agent web1", "for the agent on web1"},
        {"ca issue operator alice", "for a person"}},
       1,
       3,
       RunCa,
       nullptr,
       CaWords},
      {"version",
       "Print the version",
       "",
       "",
       {},
       {{"version -o json", "for a script"}},
       0,
       0,
       RunVersion},
      {"completion",
       "Print a script that completes commands in bash, zsh or fish",
       "bash | zsh | fish",
       "",
       {},
       {{"completion bash > /etc/bash_completion.d/firedrill", "for all users"},
        {"completion fish | source", "for this shell"}},
       1,
       1,
       RunCompletion,
       nullptr,
       Shells},
  };
}

}  // namespace

const std::vector<Command>& Commands() {
  static const std::vector<Command> commands = [] {
    std::vector<Command> all = MakeCommands();
    const auto after = std::find_if(
        all.begin(), all.end(), [](const Command& command) { return command.name == "doctor"; });
    const std::vector<Command> history = HistoryCommands();
    all.insert(after, history.begin(), history.end());
    return all;
  }();
  return commands;
}

const Command* FindCommand(const std::string& name) {
  for (const Command& command : Commands()) {
    if (command.name == name) return &command;
  }
  return nullptr;
}

const std::vector<Option>& GlobalOptions() {
  static const std::vector<Option> options = {
      {"controller", "HOST:PORT",
       fmt::format("the controller (default {}; FIREDRILL_CONTROLLER)", kDefaultController)},
      {"ca", "FILE", "certificate of the authority (FIREDRILL_CA)"},
      {"cert", "FILE", "your certificate (FIREDRILL_CERT)"},
      {"key", "FILE", "your private key (FIREDRILL_KEY)"},
      {"insecure", "", "no TLS; works on loopback alone"},
      {"output", "FORMAT", "table (default), json or yaml", 'o', false, {"table", "json", "yaml"}},
      {"no-color", "", "no colours (NO_COLOR)"},
      {"help", "", "show help", 'h'},
  };
  return options;
}

}  // namespace firedrill::cli
