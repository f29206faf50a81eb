// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

// What a measurement found, beside what a user would pick instead.
namespace firedrill::bench {

/// One figure. `other` is the same measurement of `than`, in the same run on the same machine.
struct Figure {
  std::string what;                ///< "TCP through 1 % loss, fast"
  double value = 0;                ///< In `unit`.
  std::string unit;                ///< "Gbit/s", "µs", "%"
  std::string than;                ///< "iptables -m statistic"; empty: nothing to compare with.
  std::optional<double> other;     ///< In `unit`.
  std::optional<double> at_most;   ///< The goal, in `unit`.
  std::optional<double> at_least;  ///< The goal, in `unit`.
};

/// The figures of one program, printed as a table as they come, and written as a JSON line each to
/// the file that FIREDRILL_BENCH_OUT names. Goals are shown, never enforced: a bench is no test.
class Report {
 public:
  /// Prints the heading.
  explicit Report(std::string title);
  void Add(const Figure& figure);

 private:
  const std::string title_;
};

/// The value that a share of them does not exceed; 0 for none. Sorts them.
double Quantile(std::vector<double>& values, double share);
double Median(std::vector<double> values);

}  // namespace firedrill::bench
