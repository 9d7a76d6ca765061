"""IBM Cloud: ibm-cloud-sdk-core."""

from ibm_cloud_sdk_core import ApiException, BaseService
from ibm_cloud_sdk_core.authenticators import BearerTokenAuthenticator, ContainerAuthenticator

from .bench import Bench, World


def watsonx(at, authenticator):
    service = BaseService(service_url=at, authenticator=authenticator)
    request = service.prepare_request(
        "POST", "/ml/v1/text/chat", params={"version": "2024-10-10"}, headers={"Content-Type": "application/json"},
        data={"model_id": "ibm/granite", "project_id": "judges", "messages": [{"role": "user", "content": "Who am I?"}]},
    )
    return service.send(request).get_result()["choices"][0]["message"]["content"]


def main():
    world, bench = World(), Bench("ibm")
    at, says = world.clouds["ibm"], f"You are iam-{world.ibm['profile']} by system:serviceaccount:llm:gateway"
    vended = world.exchange("watsonx", "--passthrough-token-file", world.iam_token_file)
    bench.judge("ibm-cloud-sdk-core", "BearerTokenAuthenticator, watsonx chat", lambda: watsonx(at, BearerTokenAuthenticator(vended)), says)
    bench.refusal("ibm-cloud-sdk-core", "an altered token", lambda: watsonx(at, BearerTokenAuthenticator(vended + "x")), ApiException, "401")

    # IBM's own way, as the oracle of IAM.
    pod = ContainerAuthenticator(cr_token_filename=world.iam_token_file, iam_profile_id=world.ibm["profile"], url=at)
    bench.judge("ibm-cloud-sdk-core", "ContainerAuthenticator at IAM, watsonx chat", lambda: watsonx(at, pod), says)
    wrong = ContainerAuthenticator(cr_token_filename=world.token_file, iam_profile_id=world.ibm["profile"], url=at)
    bench.refusal("ibm-cloud-sdk-core", "a token for another audience", lambda: watsonx(at, wrong), ApiException, "Compute resource token", "400")


if __name__ == "__main__":
    main()
