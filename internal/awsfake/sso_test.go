package awsfake

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sso"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"
)

func TestSSO(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTestClient(t, Options{})
		set := x.acct.AddPermissionSet("ReadOnly")
		login := x.aws.SSOLogin("alice@example.com", time.Hour, set)
		portal := sso.New(
			sso.Options{BaseEndpoint: aws.String(x.srv.URL), Region: "us-east-1", HTTPClient: x.http, RetryMaxAttempts: 1},
		)
		oidc := ssooidc.New(
			ssooidc.Options{BaseEndpoint: aws.String(x.srv.URL), Region: "us-east-1", HTTPClient: x.http, RetryMaxAttempts: 1},
		)
		credentials := func(token, role string) (Credential, error) {
			out, err := portal.GetRoleCredentials(t.Context(), &sso.GetRoleCredentialsInput{
				AccessToken: aws.String(token), AccountId: aws.String(x.acct.ID), RoleName: aws.String(role)})
			if err != nil {
				return Credential{}, err
			}
			c := out.RoleCredentials
			return Credential{Key{*c.AccessKeyId, *c.SecretAccessKey}, *c.SessionToken, time.UnixMilli(c.Expiration)}, nil
		}
		refresh := func(l SSOToken) (SSOToken, error) {
			out, err := oidc.CreateToken(
				t.Context(),
				&ssooidc.CreateTokenInput{ClientId: aws.String(l.ClientID), ClientSecret: aws.String(l.ClientSecret),
					GrantType: aws.String("refresh_token"), RefreshToken: aws.String(l.RefreshToken)},
			)
			if err != nil {
				return l, err
			}
			l.AccessToken, l.RefreshToken = *out.AccessToken, *out.RefreshToken
			return l, nil
		}
		c, err := credentials(login.AccessToken, "ReadOnly")
		if err != nil {
			t.Fatal(err)
		}
		if me, err := x.callerARN("us-east-1", c); err != nil ||
			me != "arn:aws:sts::111111111111:assumed-role/"+set.Role.Name+"/alice@example.com" ||
			c.Expires.Sub(x.aws.Now()) != time.Hour {
			t.Errorf("identity %q until %v, %v", me, c.Expires, err)
		}
		_, err = credentials(login.AccessToken, "Admin")
		wantCode(t, err, "ForbiddenException", "No access")
		_, err = credentials("aoa", "ReadOnly")
		wantCode(t, err, "UnauthorizedException", "Session token not found or invalid")
		time.Sleep(time.Hour)
		_, err = credentials(login.AccessToken, "ReadOnly")
		wantCode(t, err, "UnauthorizedException", "")
		fresh, err := refresh(login)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := credentials(fresh.AccessToken, "ReadOnly"); err != nil {
			t.Error(err)
		}
		_, err = refresh(login) // a refresh token works once
		wantCode(t, err, "InvalidGrantException", "")
		wrong := fresh
		wrong.ClientSecret = "x"
		_, err = refresh(wrong)
		wantCode(t, err, "InvalidClientException", "")
		x.aws.SSOLogout("alice@example.com")
		_, err = refresh(fresh)
		wantCode(t, err, "InvalidGrantException", "")
	})
}
