// SPDX-License-Identifier: Apache-2.0
#include "agent/files/file_gate.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <functional>
#include <queue>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "agent/files/file_caller.h"
#include "agent/files/watched_folders.h"
#include "agent/host/descriptor.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

// Of linux/fanotify.h since Linux 6.14; Debian's headers are older.
constexpr std::uint64_t kPreAccess = 0x00100000;  // FAN_PRE_ACCESS
constexpr std::uint32_t DenyWith(int error) {     // FAN_DENY_ERRNO
  return FAN_DENY | (static_cast<std::uint32_t>(error) & 0xff) << 24;
}

constexpr std::size_t kMostHeld = 4096;   // operations, each of which costs a descriptor
constexpr std::size_t kReadBytes = 2048;  // at most 85 events at once, for the same reason
constexpr std::uint64_t kSpareDescriptors = 256;
constexpr Nanoseconds kCheckEvery = std::chrono::milliseconds(500);
constexpr int kNiceness = -19;
constexpr Nanoseconds kSeenWithin = std::chrono::milliseconds(1);

absl::StatusOr<Descriptor> Group(bool pre_content) {
  const unsigned kind = pre_content ? FAN_CLASS_PRE_CONTENT : FAN_CLASS_CONTENT;
  // O_NONBLOCK: opening a FIFO for the event must not wait for its other end.
  Descriptor group(
      fanotify_init(kind | FAN_CLOEXEC | FAN_NONBLOCK | FAN_UNLIMITED_MARKS | FAN_REPORT_TID,
                    O_RDONLY | O_LARGEFILE | O_CLOEXEC | O_NONBLOCK));
  if (group.valid()) return group;
  if (errno == EPERM) {
    return absl::UnimplementedError(
        "fanotify's permission events need CAP_SYS_ADMIN: run the agent as root");
  }
  return absl::UnimplementedError(
      fmt::format("fanotify's permission events: {}; they need CONFIG_FANOTIFY and "
                  "CONFIG_FANOTIFY_ACCESS_PERMISSIONS",
                  std::strerror(errno)));
}

// As many descriptors as this process may have; how many of them events may hold.
std::size_t MostHeld() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return kMostHeld / 4;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < 2 * kSpareDescriptors) return 64;
  return std::min<std::uint64_t>(kMostHeld, limit.rlim_cur - kSpareDescriptors);
}

struct Held {
  SteadyTime due;
  int fd;
  friend bool operator>(const Held& a, const Held& b) { return a.due > b.due; }
};

class Gate : public FileGate {
 public:
  Gate(const Clock& clock, FileGateOptions options, Descriptor group, std::uint64_t mask,
       bool pre_content)
      : clock_(clock),
        options_(std::move(options)),
        group_(std::move(group)),
        pre_content_(pre_content),
        folders_(group_.get(), mask),
        most_held_(MostHeld()),
        wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

  ~Gate() override {
    stop_ = true;
    const std::uint64_t one = 1;
    if (write(wake_.get(), &one, sizeof one) < 0) {
      // It looks at stop_ every half second anyway.
    }
    if (thread_.joinable()) thread_.join();
  }

  absl::Status Begin() {
    // Others wait from the first mark on: they are answered while the rest is marked.
    thread_ = std::thread([this] {
      prctl(PR_SET_NAME, options_.thread_mark.c_str());
      prctl(PR_SET_TIMERSLACK, 1UL);
      setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), kNiceness);
      Run();
    });
    absl::MutexLock lock(&folders_mutex_);
    return folders_.Watch(options_.path);
  }

  Figures figures() const override {
    absl::MutexLock lock(&mutex_);
    return figures_;
  }

 private:
  void Run();
  absl::Status LookAtFolders();
  void ReadEvents();
  void Decide(const fanotify_event_metadata& event);
  void Answer(int fd, std::uint32_t response);
  void Deal(int fd);
  void LetDueGo();
  bool Meant(const fanotify_event_metadata& event) const;

  const Clock& clock_;
  const FileGateOptions options_;
  const Descriptor group_;
  const bool pre_content_;
  mutable absl::Mutex folders_mutex_;
  WatchedFolders folders_ ABSL_GUARDED_BY(folders_mutex_);
  const std::size_t most_held_;
  const Descriptor wake_;
  std::atomic<bool> stop_{false};
  // The thread's own.
  std::priority_queue<Held, std::vector<Held>, std::greater<>> held_;
  std::mt19937_64 random_{std::random_device{}()};
  SteadyTime checked_at_;
  mutable absl::Mutex mutex_;
  Figures figures_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

void Gate::Run() {
  while (!stop_) {
    SteadyTime wake = clock_.Steady() + kCheckEvery;
    if (!held_.empty()) wake = std::min(wake, held_.top().due);
    const Nanoseconds wait = std::max(Nanoseconds(0), Nanoseconds(wake - clock_.Steady()));
    const timespec timeout = {wait.count() / 1'000'000'000, wait.count() % 1'000'000'000};
    int changes = -1;
    // While the folders are marked there is nothing to be told of them.
    if (folders_mutex_.TryLock()) {
      changes = folders_.fd();
      folders_mutex_.Unlock();
    }
    pollfd fds[] = {{group_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}, {changes, POLLIN, 0}};
    ppoll(fds, 3, &timeout, nullptr);
    LetDueGo();
    if (fds[0].revents != 0) ReadEvents();
    const bool due = clock_.Steady() - checked_at_ >= kCheckEvery;
    if (changes < 0 && !due) continue;
    if (fds[2].revents == 0 && !due) continue;
    checked_at_ = clock_.Steady();
    if (absl::Status status = LookAtFolders(); !status.ok()) {
      absl::MutexLock lock(&mutex_);
      figures_.error.Update(status);
    }
  }
  while (!held_.empty()) {
    Answer(held_.top().fd, FAN_ALLOW);
    held_.pop();
  }
}

absl::Status Gate::LookAtFolders() {
  if (!folders_mutex_.TryLock()) return absl::OkStatus();
  absl::Status status = folders_.fd() < 0 ? absl::OkStatus() : folders_.OnChange();
  if (status.ok()) status = folders_.Check();
  const std::size_t count = folders_.count();
  folders_mutex_.Unlock();
  absl::MutexLock lock(&mutex_);
  figures_.folders = count;
  return status;
}

void Gate::ReadEvents() {
  alignas(fanotify_event_metadata) char buffer[kReadBytes];
  for (;;) {
    ssize_t got = read(group_.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return;
    const auto* event = reinterpret_cast<const fanotify_event_metadata*>(buffer);
    for (; FAN_EVENT_OK(event, got); event = FAN_EVENT_NEXT(event, got)) Decide(*event);
    LetDueGo();
  }
}

bool Gate::Meant(const fanotify_event_metadata& event) const {
  struct stat file;
  if (fstat(event.fd, &file) != 0 || S_ISDIR(file.st_mode)) return false;
  if (!folders_mutex_.TryLock()) return false;  // not begun yet
  const bool holds = folders_.Holds(file);
  folders_mutex_.Unlock();
  if (!holds) return false;
  if ((event.mask & kPreAccess) != 0 && !IsWriting(event.pid, file)) return false;
  return event.pid > 0 && options_.meant(event.pid);
}

void Gate::Decide(const fanotify_event_metadata& event) {
  if (event.fd < 0) {  // FAN_Q_OVERFLOW: the kernel let those go that did not fit
    absl::MutexLock lock(&mutex_);
    ++figures_.passed_over;
    return;
  }
  if (!Meant(event)) return Answer(event.fd, FAN_ALLOW);
  const bool chosen =
      options_.share >= 1 || std::uniform_real_distribution<double>(0, 1)(random_) < options_.share;
  const bool full = held_.size() >= most_held_;
  {
    absl::MutexLock lock(&mutex_);
    ++figures_.matched;
    if (chosen && full) ++figures_.passed_over;
    if (chosen && !full && !figures_.first) {
      figures_.first = clock_.System();
      figures_.first_uncertainty = kSeenWithin;
    }
    if (chosen && !full && options_.delay > Nanoseconds(0)) ++figures_.delayed;
  }
  if (!chosen || full) return Answer(event.fd, FAN_ALLOW);
  if (options_.delay <= Nanoseconds(0)) return Deal(event.fd);
  held_.push({clock_.Steady() + options_.delay, event.fd});
}

// What is in store for a chosen operation, once its delay is over.
void Gate::Deal(int fd) {
  if (options_.error == 0) return Answer(fd, FAN_ALLOW);
  {
    absl::MutexLock lock(&mutex_);
    ++figures_.failed;
  }
  Answer(fd, pre_content_ ? DenyWith(options_.error) : static_cast<std::uint32_t>(FAN_DENY));
}

void Gate::Answer(int fd, std::uint32_t response) {
  const fanotify_response answer = {.fd = fd, .response = response};
  // ENOENT: who waited was killed meanwhile.
  while (write(group_.get(), &answer, sizeof answer) < 0 && errno == EINTR) {
  }
  close(fd);
}

void Gate::LetDueGo() {
  const SteadyTime now = clock_.Steady();
  while (!held_.empty() && held_.top().due <= now) {
    const int fd = held_.top().fd;
    held_.pop();
    Deal(fd);
  }
}

}  // namespace

absl::Status FileGate::Try() {
  ASSIGN_OR_RETURN(const Descriptor group, Group(/*pre_content=*/false));
  // Of the root folder's own opens, which are none without FAN_ONDIR: nobody ever waits.
  if (fanotify_mark(group.get(), FAN_MARK_ADD, FAN_OPEN_PERM, AT_FDCWD, "/") == 0) {
    return absl::OkStatus();
  }
  return absl::UnimplementedError(
      fmt::format("fanotify's permission events: {}; they need "
                  "CONFIG_FANOTIFY_ACCESS_PERMISSIONS",
                  std::strerror(errno)));
}

absl::Status FileGate::TryPreContent() {
  ASSIGN_OR_RETURN(const Descriptor group, Group(/*pre_content=*/true));
  // /proc never has them: a kernel that knows the event says so, another one does not know the bit.
  if (fanotify_mark(group.get(), FAN_MARK_ADD, kPreAccess | FAN_EVENT_ON_CHILD, AT_FDCWD,
                    "/proc") == 0 ||
      errno == EOPNOTSUPP) {
    return absl::OkStatus();
  }
  return absl::UnimplementedError(
      "this kernel has no pre-content events of fanotify (FAN_PRE_ACCESS, Linux 6.14)");
}

bool FileGate::CanAnswer(int error) {
  // fanotify_user.c, process_access_response(): what programs expect of regular files.
  for (const int possible : {EPERM, EIO, EBUSY, ETXTBSY, EAGAIN, ENOSPC, EDQUOT}) {
    if (error == possible) return true;
  }
  return false;
}

absl::StatusOr<std::unique_ptr<FileGate>> FileGate::Start(const Clock& clock,
                                                          FileGateOptions options) {
  const bool pre_content = options.write || (options.error != 0 && options.error != EPERM);
  ASSIGN_OR_RETURN(Descriptor group, Group(pre_content));
  std::uint64_t mask = 0;
  if (options.open) mask |= FAN_OPEN_PERM;
  if (options.read) mask |= FAN_ACCESS_PERM;
  if (options.write) mask |= kPreAccess;
  auto gate =
      std::make_unique<Gate>(clock, std::move(options), std::move(group), mask, pre_content);
  RETURN_IF_ERROR(gate->Begin());
  return gate;
}

}  // namespace firedrill::agent
