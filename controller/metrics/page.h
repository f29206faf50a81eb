// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

namespace firedrill::controller {

/// How long something took, in coarse classes: runs are rare events, and `for` is mostly minutes.
struct Distribution {
  static constexpr std::array<double, 9> kBounds = {5, 15, 30, 60, 120, 300, 600, 1800, 3600};
  std::array<std::uint64_t, kBounds.size()> counts{};  ///< Not cumulative; beyond the last: total.
  std::uint64_t total = 0;
  double sum = 0;  ///< Seconds.

  void Add(double seconds);
};

/// A page for Prometheus in the making, in its text format. A series that is put twice has its last
/// value. Not thread-safe.
class Page {
 public:
  using Labels = std::map<std::string, std::string>;

  Page();
  ~Page();
  Page(const Page&) = delete;
  Page& operator=(const Page&) = delete;

  void Gauge(const std::string& name, const std::string& help, const Labels& labels, double value);
  void Counter(const std::string& name, const std::string& help, const Labels& labels,
               double value);
  void Histogram(const std::string& name, const std::string& help, const Labels& labels,
                 const Distribution& distribution);
  /// Takes back a series, if it was put.
  void Remove(const std::string& name, const Labels& labels);

  /// The families by name, each with its series in the order of their labels.
  std::string Text() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace firedrill::controller
