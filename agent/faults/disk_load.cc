// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/disk_load.h"

#include <fmt/format.h>

#include <utility>

#include "agent/faults/disk_loader.h"
#include "agent/faults/marks.h"
#include "agent/files/space.h"
#include "agent/host/host.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

constexpr std::uint64_t kSizeUnlessTold = 256ull << 20;
constexpr Nanoseconds kToStart = std::chrono::milliseconds(1200);  // within the worker's leash

std::string Mark(const InjectionRequest& request) { return MarkOf("fdload", request.id); }

class DiskLoadFault : public ActiveFault {
 public:
  DiskLoadFault(const Clock& clock, DiskLoaderOptions options)
      : asked_read_(options.read_rate),
        asked_write_(options.write_rate),
        loader_(clock, std::move(options)) {}

  absl::Status Confirm() { return loader_.Confirm(kToStart); }

  absl::StatusOr<Impact> Observe() const override {
    const DiskLoader::Figures figures = loader_.figures();
    if (!figures.error.ok()) return figures.error;
    Impact impact;
    impact.first = figures.first;
    impact.uncertainty = figures.first_length;
    impact.counters = {{"read_bytes", static_cast<double>(figures.read_bytes)},
                       {"written_bytes", static_cast<double>(figures.written_bytes)},
                       {"prepared_bytes", static_cast<double>(figures.prepared_bytes)},
                       {"asked_read_bytes_per_second", static_cast<double>(asked_read_)},
                       {"asked_write_bytes_per_second", static_cast<double>(asked_write_)},
                       {"achieved_read_bytes_per_second", figures.read_rate},
                       {"achieved_write_bytes_per_second", figures.write_rate},
                       {"io_errors", static_cast<double>(figures.errors)},
                       {"past_page_cache", figures.direct ? 1.0 : 0.0}};
    return impact;
  }

  absl::Status Revert() override {
    loader_.Stop();
    return absl::OkStatus();
  }

 private:
  const std::uint64_t asked_read_;
  const std::uint64_t asked_write_;
  DiskLoader loader_;
};

}  // namespace

absl::Status DiskLoadSupported(const Host&) { return absl::OkStatus(); }

absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyDiskLoad(const InjectionRequest& request,
                                                           WorkerContext& context) {
  const v1::DiskLoad& load = request.fault.disk_load();
  DiskLoaderOptions options;
  options.read_rate = load.read_rate();
  options.write_rate = load.write_rate();
  options.size = load.size() != 0 ? load.size() : kSizeUnlessTold;
  options.thread_mark = Mark(request);
  ASSIGN_OR_RETURN(options.file, OpenLoadFile(load.path(), "." + Mark(request), options.direct));
  ASSIGN_OR_RETURN(const Space space, SpaceOf(options.file.get()));
  if (space.available < options.size + kLoadFloor) {
    return absl::FailedPreconditionError(fmt::format(
        "{} has {} MiB available; the file takes {} MiB and {} MiB stay free: choose a smaller "
        "size",
        load.path(), space.available >> 20, options.size >> 20, kLoadFloor >> 20));
  }
  auto fault = std::make_unique<DiskLoadFault>(context.host.clock(), std::move(options));
  RETURN_IF_ERROR(fault->Confirm());
  return fault;
}

absl::Status VerifyDiskLoadGone(const InjectionRequest& request, const Host& host) {
  RETURN_IF_ERROR(RemoveMomentaryName(request.fault.disk_load().path(), "." + Mark(request)));
  return VerifyNoMark(host, Mark(request));
}

}  // namespace firedrill::agent
