// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <memory>

#include "absl/strings/str_split.h"
#include "controller/cli/commands/inject_flags.h"
#include "controller/cli/commands/runners.h"
#include "controller/cli/commands/target_flags.h"
#include "controller/cli/terminal/screen.h"
#include "controller/cli/terminal/signals.h"
#include "controller/cli/view/preview_view.h"
#include "controller/cli/view/text_width.h"
#include "proto/support/fault_rules.h"
#include "proto/support/problem.h"
#include "proto/support/status_macros.h"
#include "proto/support/text.h"
#include "proto/support/time.h"

namespace firedrill::cli {
namespace {

constexpr Nanoseconds kUsual = std::chrono::seconds(5);
constexpr Nanoseconds kLongest = std::chrono::minutes(5);

absl::Status Refuse(const std::string& text) { return absl::InvalidArgumentError(text); }

// What decides only how much is done, and has no part in what is chosen: left out, it gets a value
// that the rules accept.
void FillIn(v1::Fault* fault) {
  switch (fault->kind_case()) {
    case v1::Fault::kPacketLoss:
      if (fault->packet_loss().percent() == 0 && fault->packet_loss().every() == 0 &&
          !fault->packet_loss().has_bursts()) {
        fault->mutable_packet_loss()->set_percent(100);
      }
      return;
    case v1::Fault::kLatency:
      if (!fault->latency().has_delay()) {
        *fault->mutable_latency()->mutable_delay() = ToProto(std::chrono::milliseconds(1));
      }
      return;
    case v1::Fault::kPacketDuplicate:
      if (fault->packet_duplicate().percent() == 0) {
        fault->mutable_packet_duplicate()->set_percent(100);
      }
      return;
    case v1::Fault::kPacketCorrupt:
      if (fault->packet_corrupt().percent() == 0) fault->mutable_packet_corrupt()->set_percent(100);
      return;
    case v1::Fault::kPacketReorder:
      if (fault->packet_reorder().percent() == 0) fault->mutable_packet_reorder()->set_percent(100);
      return;
    case v1::Fault::kBandwidth:
      if (fault->bandwidth().rate() == 0) fault->mutable_bandwidth()->set_rate(1'000'000'000);
      return;
    case v1::Fault::kDns:
      if (fault->dns().answer() == v1::DNS_ANSWER_LATE && !fault->dns().has_delay()) {
        *fault->mutable_dns()->mutable_delay() = ToProto(std::chrono::seconds(1));
      }
      return;
    case v1::Fault::kFileFault:
      if (FromProto(fault->file_fault().delay()) == Nanoseconds(0) &&
          fault->file_fault().error().empty()) {
        fault->mutable_file_fault()->set_error("EPERM");
      }
      return;
    default:
      return;
  }
}

// Kinds that take from the host as a whole: an agent has nothing to count for them.
bool ChoosesNothing(v1::Fault::KindCase kind) {
  switch (kind) {
    case v1::Fault::kCpu:
    case v1::Fault::kMemory:
    case v1::Fault::kDiskFill:
    case v1::Fault::kDiskLoad:
    case v1::Fault::kPids:
    case v1::Fault::kConfigChange:
    case v1::Fault::kClockStep:
    case v1::Fault::kReboot:
    case v1::Fault::kNone:
      return true;
    default:
      return false;
  }
}

// A partition's other side, which is labels here: the addresses of all that carry them.
absl::Status SetOtherSide(Client* client, v1::Fault* fault) {
  if (!fault->has_partition() || fault->partition().from().empty()) return absl::OkStatus();
  const std::string given = fault->partition().from();
  v1::Target other;
  RETURN_IF_ERROR(SetLabel("--from", given, "role=database", &other));
  ASSIGN_OR_RETURN(const v1::ListAgentsResponse agents, client->ListAgents());
  for (const v1::Agent& agent : agents.agents()) {
    if (agent.state() == v1::AGENT_STATE_GONE || !Matches(other, agent)) continue;
    for (const std::string& address : agent.hello().addresses()) {
      fault->mutable_partition()->add_addresses(address);
    }
  }
  if (fault->partition().addresses().empty()) {
    return Refuse("--from: no agent that is connected carries " + Clean(given));
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::PreviewRequest> Build(const Arguments& arguments,
                                         const google::protobuf::FieldDescriptor& kind) {
  v1::PreviewRequest request;
  ASSIGN_OR_RETURN(*request.mutable_fault(), FaultFromFlags(kind, arguments));
  FillIn(request.mutable_fault());
  RETURN_IF_ERROR(SetTarget(arguments, request.mutable_target()));
  if (request.target().labels().empty() && request.target().hosts().empty()) {
    return Refuse("--target: needed: --target LABEL=VALUE, or --host NAME");
  }
  Nanoseconds duration = kUsual;
  if (arguments.Has("for")) {
    const std::string text = arguments.Get("for");
    const absl::StatusOr<Nanoseconds> given = ParseDuration(text);
    if (!given.ok() || *given <= Nanoseconds(0) || *given > kLongest) {
      return Refuse(fmt::format(
          "--for: found {}; {}", Quoted(text),
          given.ok() ? "allowed: over 0s, at most 5m" : std::string(given.status().message())));
    }
    duration = *given;
  }
  *request.mutable_duration() = ToProto(duration);
  Problems problems;
  CheckFault(request.fault(), "", &problems);
  // Paths as options.
  for (Problem& problem : problems) {
    for (const FaultFlag& flag : FaultFlags(kind)) {
      if (problem.field.rfind(flag.FieldPath(), 0) == 0) problem.field = "--" + flag.option.name;
    }
  }
  RETURN_IF_ERROR(ToStatus(problems));
  return request;
}

// The table in place on a terminal; nothing meanwhile elsewhere.
class Live {
 public:
  explicit Live(const Invocation& invocation) : style_(invocation.style) {
    if (invocation.context.out_is_terminal && invocation.settings.format == Format::kTable) {
      screen_ = std::make_unique<Screen>(1);
    }
  }
  void Draw(const PreviewCounts& counts, Nanoseconds passed, Nanoseconds left) {
    if (screen_ == nullptr) return;
    std::vector<std::string> block;
    const int width = screen_->width() - 1;
    const std::string table = PreviewTable(counts, passed, style_, width);
    for (const absl::string_view line : absl::StrSplit(table, '\n', absl::SkipEmpty())) {
      block.push_back(Fit(std::string(line), width));
    }
    const auto whole = std::chrono::ceil<std::chrono::seconds>(std::max(left, Nanoseconds(0)));
    block.push_back(style_(Colour::kDim, fmt::format("nothing is touched; {} left; Ctrl-C ends it",
                                                     FormatDuration(whole))));
    screen_->Draw({}, block);
  }

 private:
  const Style& style_;
  std::unique_ptr<Screen> screen_;
};

}  // namespace

ExitCode RunPreview(Invocation& invocation) {
  const std::string& word = invocation.arguments.words[0];
  const google::protobuf::FieldDescriptor* kind = FindFault(word);
  if (kind == nullptr) {
    return invocation.FailUsage(
        fmt::format("unknown kind of fault {}; {}", Quoted(word), SuggestFrom(word, FaultNames())));
  }
  if (ChoosesNothing(static_cast<v1::Fault::KindCase>(kind->number()))) {
    return invocation.FailUsage(kind->name() +
                                " cannot be counted: it has no choice of packets or processes");
  }
  absl::StatusOr<v1::PreviewRequest> request = Build(invocation.arguments, *kind);
  if (!request.ok()) return invocation.Fail(request.status());
  const absl::StatusOr<Client*> client = invocation.Controller();
  if (!client.ok()) return invocation.Fail(client.status());
  if (absl::Status other = SetOtherSide(*client, request->mutable_fault()); !other.ok()) {
    return invocation.Fail(other);
  }
  PreviewCounts counts;
  const Nanoseconds duration = FromProto(request->duration());
  const SteadyTime begun = invocation.context.clock.Steady();
  bool interrupted = false;
  absl::Status status;
  {
    Signals signals({SIGINT, SIGTERM, SIGHUP});
    Live live(invocation);
    status = (*client)->Preview(*request, [&](const v1::PreviewResponse& response) {
      counts[response.host()] = response;
      const Nanoseconds passed = invocation.context.clock.Steady() - begun;
      live.Draw(counts, std::min(passed, duration), duration - passed);
      interrupted = signals.Get() != 0;
      return !interrupted;
    });
  }
  if (!status.ok() && !interrupted) return invocation.Fail(status);
  const Nanoseconds counted =
      interrupted ? std::min(invocation.context.clock.Steady() - begun, duration) : duration;
  if (invocation.settings.format != Format::kTable) {
    invocation.context.out << SerializeJson(PreviewJson(counts, counted),
                                            invocation.settings.format);
  } else {
    invocation.context.out << PreviewTable(counts, counted, invocation.style, invocation.width)
                           << fmt::format("\n{} on {} host{}; nothing was touched.\n",
                                          FormatDuration(counted), counts.size(),
                                          counts.size() == 1 ? "" : "s");
  }
  if (interrupted) return ExitCode::kAborted;
  const bool all = std::all_of(counts.begin(), counts.end(),
                               [](const auto& entry) { return entry.second.error().empty(); });
  return all && AnythingMatched(counts) ? ExitCode::kPassed : ExitCode::kInconclusive;
}

}  // namespace firedrill::cli
