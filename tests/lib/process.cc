// SPDX-License-Identifier: Apache-2.0
#include "tests/lib/process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace firedrill::test {

absl::StatusOr<std::unique_ptr<Child>> Child::Start(const std::vector<std::string>& arguments,
                                                    const std::string& log_file) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const int log = open(log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (log < 0) return absl::ErrnoToStatus(errno, "open " + log_file);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) {
    const int error = errno;
    close(log);
    return absl::ErrnoToStatus(error, "fork");
  }
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127);
    // As a login shell gives them, whatever this test was started by (nohup ignores SIGHUP, and a
    // shell cannot trap what was ignored before it).
    for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGTERM, SIGUSR1, SIGUSR2}) {
      ::signal(signal, SIG_DFL);
    }
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execv(argv[0], argv.data());
    _exit(127);
  }
  close(log);
  return std::unique_ptr<Child>(new Child(pid, log_file));
}

Child::~Child() { Stop(SIGKILL); }

bool Child::Running() {
  if (pid_ <= 0) return false;
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) == 0) return true;
  pid_ = -1;
  return false;
}

void Child::Signal(int signal) {
  if (Running()) kill(pid_, signal);
}

void Child::Stop(int signal) {
  Signal(signal);
  if (WaitFor([this] { return !Running(); }, std::chrono::seconds(10))) return;
  Signal(SIGKILL);
  if (pid_ > 0) waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

std::string Child::Log() const { return ReadFile(log_file_); }

absl::StatusOr<Finished> RunToEnd(const std::vector<std::string>& arguments,
                                  const std::string& input, Nanoseconds deadline) {
  const TemporaryFolder folder;
  std::vector<std::string> shell = {"/bin/sh", "-c",
                                    "exec \"$@\" <'" + folder.Write("input", input) + "'", "sh"};
  shell.insert(shell.end(), arguments.begin(), arguments.end());
  auto child = Child::Start(shell, folder.path() + "/output");
  if (!child.ok()) return child.status();
  const pid_t pid = (*child)->pid();
  int status = 0;
  const bool over = WaitFor(
      [&] {
        siginfo_t info{};
        return waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
               info.si_pid == pid;
      },
      deadline);
  Finished finished;
  finished.output = ReadFile(folder.path() + "/output");
  if (!over) return absl::DeadlineExceededError(arguments[0] + " did not end: " + finished.output);
  waitpid(pid, &status, 0);
  (*child)->Running();  // it is collected already
  finished.exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return finished;
}

TemporaryFolder::TemporaryFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "firedrill-test-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp " + name);
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TemporaryFolder::Write(const std::string& name, const std::string& text) const {
  const std::filesystem::path file = std::filesystem::path(path_) / name;
  std::filesystem::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << text;
  return file.string();
}

std::string ReadFile(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  std::stringstream text;
  text << stream.rdbuf();
  return text.str();
}

namespace {

// The first port that the kernel gives to those who ask for any (ip(7): ip_local_port_range).
int FirstOfAny() {
  std::istringstream range(ReadFile("/proc/sys/net/ipv4/ip_local_port_range"));
  constexpr int kUsual = 32768;
  int first = kUsual;
  return range >> first ? first : kUsual;
}

// Whether a listener at `port` of 127.0.0.1 would come up.
bool IsFree(int port) {
  const int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool free =
      bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  close(descriptor);
  return free;
}

}  // namespace

int FreePort() {
  constexpr int kFirst = 10'240, kEach = 8;
  static std::atomic<int> asked = 0;
  // Those below are nobody's by chance, and each process of tests begins elsewhere.
  const int ports = FirstOfAny() - kFirst;
  if (ports < kEach) throw std::runtime_error("net.ipv4.ip_local_port_range leaves no free port");
  for (int attempt = 0; attempt < ports; ++attempt) {
    const int port = kFirst + (getpid() * kEach + asked++) % ports;
    if (IsFree(port)) return port;
  }
  throw std::runtime_error("no free port");
}

void Pause(Nanoseconds duration) { std::this_thread::sleep_for(duration); }

}  // namespace firedrill::test
