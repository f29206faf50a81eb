// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>

#include "proto/support/secret_file.h"
#include "tests/lib/process.h"

namespace firedrill {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

class SecretFileTest : public ::testing::Test {
 protected:
  void Write(const std::string& text) const { folder_.Write("secret", text); }

  static std::string Words(const absl::Status& status) {
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    return std::string(status.message());
  }
  std::string Error() const { return Words(ReadSecretFile(path_).status()); }

  test::TemporaryFolder folder_;
  const std::string path_ = folder_.path() + "/secret";
};

TEST_F(SecretFileTest, SpacesAroundASecretAreNoPartOfIt) {
  for (const char* text : {"s3 cret", "s3 cret\n", "\n  s3 cret \t\r\n\r\n"}) {
    Write(text);
    const auto secret = ReadSecretFile(path_);
    ASSERT_TRUE(secret.ok()) << secret.status();
    EXPECT_EQ(*secret, "s3 cret");
  }
}

TEST_F(SecretFileTest, LinesAreSecretsOfTheirOwn) {
  Write("\n  one \r\n\r\ntwo\n");
  EXPECT_THAT(*ReadSecretLines(path_), ElementsAre("one", "two"));
  EXPECT_THAT(Error(),
              AllOf(HasSubstr(path_), HasSubstr("must be one line"), Not(HasSubstr("two"))));
  std::string many;
  for (int i = 0; i < 16; ++i) many += "line\n";
  Write(many);
  EXPECT_THAT(*ReadSecretLines(path_), SizeIs(16));
  Write(many + "line\n");
  EXPECT_THAT(Words(ReadSecretLines(path_).status()), HasSubstr("at most 16 lines"));
}

TEST_F(SecretFileTest, SaysWhatIsWrongWithTheFile) {
  Write(" \n\r\n");
  EXPECT_THAT(Error(), HasSubstr("the file is empty"));
  EXPECT_THAT(Words(ReadSecretLines(path_).status()), HasSubstr("the file is empty"));
  Write(std::string(64 << 10, 'x'));
  EXPECT_THAT(*ReadSecretFile(path_), SizeIs(64 << 10));
  Write(std::string((64 << 10) + 1, 'x'));
  EXPECT_THAT(Error(), HasSubstr("is over 64 KiB"));
  std::remove(path_.c_str());
  EXPECT_THAT(Error(), HasSubstr("cannot be read"));
  EXPECT_THAT(Words(ReadSecretFile(folder_.path()).status()), HasSubstr("cannot be read"));
}

}  // namespace
}  // namespace firedrill
