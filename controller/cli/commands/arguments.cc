// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/commands/arguments.h"

#include <fmt/format.h>

#include <boost/program_options.hpp>
#include <fstream>

#include "proto/support/problem.h"

namespace firedrill::cli {
namespace {

namespace po = boost::program_options;
using Values = std::vector<std::string>;

po::options_description Describe(const std::vector<Option>& options) {
  po::options_description description;
  for (const Option& option : options) {
    const std::string name =
        option.letter == 0 ? option.name : fmt::format("{},{}", option.name, option.letter);
    if (option.value.empty()) {
      description.add_options()(name.c_str(), po::bool_switch());
    } else {
      description.add_options()(name.c_str(), po::value<Values>());
    }
  }
  return description;
}

absl::Status Refuse(const std::string& text) { return absl::InvalidArgumentError(text); }

absl::StatusOr<Arguments> Collect(const po::parsed_options& parsed,
                                  const std::vector<Option>& options) {
  Arguments arguments;
  for (const auto& given : parsed.options) {
    if (given.position_key >= 0) {
      arguments.words.insert(arguments.words.end(), given.value.begin(), given.value.end());
      continue;
    }
    const auto option = std::find_if(options.begin(), options.end(),
                                     [&](const Option& o) { return o.name == given.string_key; });
    Values& values = arguments.options[given.string_key];
    if (!values.empty() && option != options.end() && !option->repeated) {
      return Refuse(fmt::format("--{} was given twice", given.string_key));
    }
    values.insert(values.end(), given.value.begin(), given.value.end());
    if (given.value.empty()) values.emplace_back("true");
  }
  return arguments;
}

std::string Unknown(const std::string& name, const std::vector<Option>& options) {
  std::vector<std::string> names;
  for (const Option& option : options) names.push_back("--" + option.name);
  const std::string nearest = Nearest(name, names);
  return fmt::format("unknown option {}{}", name,
                     nearest.empty() ? "" : fmt::format("; did you mean {}?", nearest));
}

}  // namespace

std::string Arguments::Get(const std::string& name, const std::string& otherwise) const {
  const auto found = options.find(name);
  return found == options.end() || found->second.empty() ? otherwise : found->second.front();
}

std::vector<std::string> Arguments::All(const std::string& name) const {
  const auto found = options.find(name);
  return found == options.end() ? Values() : found->second;
}

absl::StatusOr<Arguments> ParseArguments(const std::vector<std::string>& argv,
                                         const std::vector<Option>& options) {
  const po::options_description description = Describe(options);
  po::options_description with_words;
  with_words.add(description);
  with_words.add_options()("word", po::value<Values>());
  po::positional_options_description positional;
  positional.add("word", -1);
  try {
    const auto style = po::command_line_style::unix_style & ~po::command_line_style::allow_guessing;
    return Collect(
        po::command_line_parser(argv).options(with_words).positional(positional).style(style).run(),
        options);
  } catch (const po::unknown_option& error) {
    return Refuse(Unknown(error.get_option_name(), options));
  } catch (const po::error_with_option_name& error) {
    // Boost's own words say too much of its inside.
    return Refuse(fmt::format("{} needs a value (or takes none)", error.get_option_name()));
  } catch (const po::error& error) {
    return Refuse(error.what());
  }
}

absl::StatusOr<Arguments> ParseConfig(const std::string& path, const std::vector<Option>& options) {
  std::ifstream file(path);
  if (!file) return Refuse(path + ": cannot be read");
  try {
    return Collect(po::parse_config_file(file, Describe(options)), options);
  } catch (const po::unknown_option& error) {
    return Refuse(path + ": " + Unknown(error.get_option_name(), options));
  } catch (const po::error& error) {
    return Refuse(path + ": " + error.what());
  }
}

}  // namespace firedrill::cli
